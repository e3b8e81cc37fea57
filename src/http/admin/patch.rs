//! JSON merge patch (RFC 7396): what is left out stays, `null` takes away.

use serde_json::{Map, Value};

pub(super) fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let mut inner = match target.remove(&key) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(key, Value::Object(inner));
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_does_what_the_standards_own_examples_do() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else {
                unreachable!("objects only")
            };
            merge(&mut target, patch);
            assert_eq!(Value::Object(target), expected);
        }
    }
}
