//! Objects as `encoding/json` reads them into a struct: unknown keys are skipped, `null` leaves a
//! field as it was and takes the value from one that can be absent (a pointer there), the last of two equal
//! keys wins, keys match without regard to case, and whatever follows the first value is not looked at.
//!
//! serde's derive does none of these, hence [`go_object!`].

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Visitor};

use super::mend::mend;
use super::mismatch::Unreadable;

/// Reads one value from the start of `body`; `name` is what Go calls its type (`api.ChatRequest`).
///
/// # Errors
/// The text is no JSON, or no such object, in Go's words.
pub fn read<T: DeserializeOwned>(body: &[u8], name: &str) -> Result<T, Unreadable> {
    let value = |body: &[u8]| T::deserialize(&mut serde_json::Deserializer::from_slice(body));
    value(body)
        .or_else(|error| mend(body).map_or(Err(error), |mended| value(&mended)))
        .map_err(|error| Unreadable::of(&error.to_string(), name))
}

/// The keys an object may have.
#[derive(Clone, Copy)]
pub struct Keys(pub &'static [&'static str]);

/// The known key that was met, or `None`.
#[derive(Clone, Copy)]
pub struct Key(pub Option<&'static str>);

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Keys {
    type Value = Key;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        let exact = self.0.iter().find(|known| **known == text);
        let folded = || self.0.iter().find(|known| known.eq_ignore_ascii_case(text));
        Ok(Key(exact.or_else(folded).copied()))
    }
}

/// What `null` makes of a field of this type, if anything.
pub fn absent<T: DeserializeOwned>() -> Option<T> {
    T::deserialize(serde_json::Value::Null).ok()
}

/// Declares a struct with Go's reading rules. Each field names its JSON key and, where the API
/// knows one, a second key that feeds the same field.
macro_rules! go_object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal $(| $other:literal)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl<'de> serde::de::Deserialize<'de> for $name {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl<'de> serde::de::Visitor<'de> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        const KEYS: $crate::go::Keys =
                            $crate::go::Keys(&[$($key, $($other,)?)*]);
                        let mut object = $name::default();
                        while let Some(key) = map.next_key_seed(KEYS)? {
                            match key.0 {
                                $(Some($key $(| $other)?) => {
                                    let value = map.next_value::<Option<$type>>();
                                    let value = value.map_err(|error| $crate::go::in_field(&error, $key))?;
                                    if let Some(value) = value.or_else($crate::go::absent) {
                                        object.$field = value;
                                    }
                                })*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Reader)
            }
        }
    };
}
pub(crate) use go_object;

#[cfg(test)]
mod tests {
    use super::*;

    go_object! {
        struct Thing {
            name: String = "name" | "model",
            size: i64 = "size",
            flag: Option<bool> = "flag",
        }
    }

    #[test]
    fn null_takes_the_value_from_what_can_be_absent() {
        let thing: Thing = read(
            br#"{"name":"a","flag":false,"flag":null,"name":null}"#,
            "api.Thing",
        )
        .unwrap();
        assert_eq!((thing.name.as_str(), thing.flag), ("a", None));
        let thing: Thing = read(br#"{"flag":null,"flag":true}"#, "api.Thing").unwrap();
        assert_eq!(thing.flag, Some(true));
    }

    #[test]
    fn the_last_key_wins_in_any_case_and_null_changes_nothing() {
        let thing: Thing = read(
            br#"{"name":"a","SIZE":1,"other":[{}],"Model":"b","size":2,"size":null,"flag":false} tail"#,
            "api.Thing",
        )
        .unwrap();
        assert_eq!(
            (thing.name.as_str(), thing.size, thing.flag),
            ("b", 2, Some(false))
        );
    }

    #[test]
    fn another_type_is_an_error() {
        let error = |body: &[u8]| read::<Thing>(body, "api.Thing").unwrap_err().text;
        let field = "json: cannot unmarshal number into Go struct field Thing.name of type string";
        assert_eq!(error(br#"{"name":1}"#), field);
        let value = "json: cannot unmarshal array into Go value of type api.Thing";
        assert_eq!(error(b"[]"), value);
        assert_eq!(error(b"{"), "unexpected EOF");
    }

    #[test]
    fn text_that_is_no_unicode_is_replaced() {
        let thing: Thing = read(b"{\"name\":\"caf\xe9 \\ud83d\"}", "api.Thing").unwrap();
        assert_eq!(thing.name, "caf\u{fffd} \u{fffd}");
    }
}
