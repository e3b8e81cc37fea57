//! Whether a request asks for nothing but that a model leaves the memory.

use super::fields::{Field, Fields};
use crate::protocol::api::Api;

/// Ollama's rule: nothing to read, and a `keep_alive` of no time.
pub(super) fn asks(api: Api, fields: &Fields<'_>) -> bool {
    let Some(keep_alive) = fields.get(Field::KeepAlive) else {
        return false;
    };
    let is_empty = match api {
        Api::OllamaChat => fields.get(Field::Messages).is_none_or(is_empty_list),
        Api::OllamaGenerate => fields.get(Field::Prompt).is_none_or(|json| json == r#""""#),
        _ => false,
    };
    is_empty && is_no_time(keep_alive)
}

fn is_empty_list(json: &str) -> bool {
    let inside = json
        .strip_prefix('[')
        .and_then(|json| json.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// A number, or a text such as `0s`. What is no duration the server refuses.
fn is_no_time(json: &str) -> bool {
    let digits = || json.bytes().filter(u8::is_ascii_digit);
    let is_text = json.starts_with('"');
    digits().next().is_some()
        && match is_text {
            true => digits().all(|digit| digit == b'0'),
            false => json.parse::<f64>().is_ok_and(|seconds| seconds == 0.0),
        }
}

#[cfg(test)]
mod tests {
    use super::super::peek;
    use super::*;

    #[test]
    fn only_a_request_without_text_and_without_time_unloads() {
        let unloads = |api, rest: &str| {
            let body = format!(r#"{{"model":"m"{rest}}}"#);
            peek(api, body.as_bytes()).unwrap().unloads
        };
        for rest in [
            r#","keep_alive":0"#,
            r#","keep_alive":0.0,"messages":[ ]"#,
            r#","keep_alive":"0s","messages":null"#,
            r#","keep_alive":"0""#,
        ] {
            assert!(unloads(Api::OllamaChat, rest), "{rest}");
        }
        assert!(unloads(
            Api::OllamaGenerate,
            r#","prompt":"","keep_alive":0"#
        ));
        for rest in [
            "",
            r#","keep_alive":null"#,
            r#","keep_alive":-1"#,
            r#","keep_alive":"10m""#,
            r#","keep_alive":"soon""#,
            r#","keep_alive":0,"messages":[{}]"#,
        ] {
            assert!(!unloads(Api::OllamaChat, rest), "{rest}");
        }
        assert!(!unloads(
            Api::OllamaGenerate,
            r#","prompt":"x","keep_alive":0"#
        ));
        assert!(!unloads(Api::OllamaEmbed, r#","keep_alive":0"#));
    }
}
