//! Whether a request asks that a model leaves the memory, and for anything else.

use super::fields::{Field, Fields};
use crate::domain::go_seconds;
use crate::protocol::api::Api;

/// Whether the model is to leave the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unload {
    /// No.
    No,
    /// When the request has been answered.
    After,
    /// Nothing is to be computed.
    Only,
}

impl Unload {
    /// Ollama's rule: a `keep_alive` of no time unloads, and does nothing else where there is nothing to read. Of
    /// keys that are given twice it does not follow that there is nothing: what the server reads as a
    /// question must take a slot and be counted.
    pub(super) fn of(api: Api, fields: &Fields<'_>) -> Self {
        let Some(seconds) = fields.get(Field::KeepAlive).and_then(seconds) else {
            return Self::No;
        };
        let is_empty = match api {
            Api::OllamaChat => fields.get(Field::Messages).is_none_or(is_empty_list),
            Api::OllamaGenerate => fields.get(Field::Prompt).is_none_or(|json| json == r#""""#),
            Api::OllamaEmbed | Api::OllamaEmbeddings => false,
            _ => return Self::No,
        };
        let read = [Field::KeepAlive, Field::Messages, Field::Prompt];
        let is_clear = !read.iter().any(|field| fields.is_repeated(*field));
        // To unload and nothing else, Ollama takes the whole seconds.
        if is_empty && is_clear && (0.0..1.0).contains(&seconds) {
            Self::Only
        } else if seconds.abs() < 1e-9 {
            Self::After
        } else {
            Self::No
        }
    }
}

fn is_empty_list(json: &str) -> bool {
    let inside = json
        .strip_prefix('[')
        .and_then(|json| json.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// A number, of which Ollama takes the whole seconds, or a duration as Go writes it. What is no duration the
/// server refuses.
pub(super) fn seconds(json: &str) -> Option<f64> {
    match json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
    {
        Some(text) => go_seconds(text),
        None => {
            let seconds: f64 = json.parse().ok()?;
            Some(if seconds < 0.0 {
                seconds
            } else {
                seconds.trunc()
            })
        }
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
            peek(api, body.as_bytes()).unwrap().unload == Unload::Only
        };
        for rest in [
            r#","keep_alive":0"#,
            r#","keep_alive":0.0,"messages":[ ]"#,
            r#","keep_alive":"0s","messages":null"#,
            r#","keep_alive":"0""#,
            r#","keep_alive":"500ms""#,
            r#","keep_alive":"1us""#,
            r#","keep_alive":0.5"#,
        ] {
            assert!(unloads(Api::OllamaChat, rest), "{rest}");
        }
        for rest in [
            r#","prompt":"hello","prompt":null,"keep_alive":0"#,
            r#","prompt":"hello","Prompt":"","keep_alive":0"#,
            r#","keep_alive":"5m","keep_alive":0"#,
            r#","keep_alive":"1s""#,
            r#","keep_alive":"1m0s""#,
            r#","keep_alive":"-500ms""#,
            r#","keep_alive":"0x""#,
            r#","keep_alive":"""#,
        ] {
            assert!(!unloads(Api::OllamaGenerate, rest), "{rest}");
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

    #[test]
    fn a_request_without_time_that_asks_for_something_unloads_after_it() {
        let unload = |api, rest: &str| {
            let body = format!(r#"{{"model":"m"{rest}}}"#);
            peek(api, body.as_bytes()).unwrap().unload
        };
        for keep_alive in ["0", "0.5", r#""0s""#, r#""0""#] {
            for (api, rest) in [
                (Api::OllamaChat, r#","messages":[{}]"#),
                (Api::OllamaGenerate, r#","prompt":"x""#),
                (Api::OllamaEmbed, r#","input":"x""#),
                (Api::OllamaEmbeddings, r#","prompt":"x""#),
            ] {
                let rest = format!(r#"{rest},"keep_alive":{keep_alive}"#);
                assert_eq!(unload(api, &rest), Unload::After, "{rest}");
            }
        }
        for rest in [
            "",
            r#","keep_alive":-1"#,
            r#","keep_alive":"1ms""#,
            r#","keep_alive":60"#,
        ] {
            let rest = format!(r#","prompt":"x"{rest}"#);
            assert_eq!(unload(Api::OllamaGenerate, &rest), Unload::No, "{rest}");
        }
        let other = unload(Api::OpenAiChat, r#","messages":[{}],"keep_alive":0"#);
        assert_eq!(other, Unload::No, "it does not know the key");
    }
}
