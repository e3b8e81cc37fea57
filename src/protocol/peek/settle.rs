//! A body that every reader reads alike.
//!
//! Go takes bytes that are no UTF-8 (each becomes U+FFFD), of a key that is given twice the last value, in
//! whatever case it is spelt, and does not look at what follows the object. Servers written in other
//! languages refuse the first and the last, and see two keys in the other. What is sent is what Ollama would have read. Seldom needed, so it may cost a copy.

use std::borrow::Cow;

use bytes::Bytes;

use super::fields::{Field, Fields};
use super::splice::{Splice, range_in, splice};
use super::{Api, walk};
use crate::protocol::skip;

/// The body as Ollama reads it: text, one value under each key that decides the route, and the object alone. What
/// is no JSON object stays as it is.
#[must_use]
pub fn settle(api: Api, body: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let Ok(fields) = Fields::read(&text, api.dialect()) else {
        return owned(body, text);
    };
    let mut splices = Vec::new();
    let walked = walk::entries(&text, |key, value| {
        let field = Field::of(key).filter(|field| field.must_agree().is_some());
        let settled = field.and_then(|field| fields.raw(field));
        if let Some(settled) = settled.filter(|settled| *settled != value.get()) {
            let at = range_in(&text, value.get());
            splices.push(Splice::new(at, settled.to_owned()));
        }
    });
    if matches!(walked, Ok(true))
        && let Some(end) = end_of_object(&text)
    {
        splices.push(Splice::new(end..text.len(), ""));
    }
    if walked.is_err() || splices.is_empty() {
        return owned(body, text);
    }
    let text = owned(body, text.clone());
    splice(&text, &splices)
}

fn end_of_object(text: &str) -> Option<usize> {
    skip::behind_value(text.as_bytes(), text.find('{')?)
}

fn owned(body: &Bytes, text: Cow<'_, str>) -> Bytes {
    match text {
        Cow::Borrowed(_) => body.clone(),
        Cow::Owned(text) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Dialect;

    fn settled(body: &[u8]) -> String {
        settled_of(Api::OllamaChat, body)
    }

    fn settled_of(api: Api, body: &[u8]) -> String {
        String::from_utf8(settle(api, &Bytes::copy_from_slice(body)).to_vec()).unwrap()
    }

    #[test]
    fn of_a_key_that_decides_the_route_the_last_value_stands_everywhere() {
        let body = br#"{"model":"a","x":1,"x":2,"MODEL":"b","stream":true,"stream":false}"#;
        let same = r#"{"model":"b","x":1,"x":2,"MODEL":"b","stream":false,"stream":false}"#;
        assert_eq!(settled(body), same);
        // `null` says nothing about a text, and switches off what can be absent.
        let body = br#"{"model":"a","model":null,"stream":false,"stream":null}"#;
        let same = r#"{"model":"a","model":"a","stream":null,"stream":null}"#;
        assert_eq!(settled(body), same);
        // Elsewhere than in Ollama's own API `stream` cannot be absent.
        for api in Api::ALL {
            let body = br#"{"model":"a","stream":true,"stream":null,"stream_options":{},"stream_options":null}"#;
            let stream = if api.dialect() == Dialect::Ollama {
                "null"
            } else {
                "true"
            };
            let same = format!(
                r#"{{"model":"a","stream":{stream},"stream":{stream},"stream_options":null,"stream_options":null}}"#
            );
            assert_eq!(settled_of(api, body), same, "{api:?}");
        }
    }

    #[test]
    fn what_follows_the_object_is_cut_off() {
        for rest in ["x", " {\"model\":\"b\"}", "}", "\n\n]", "\u{0}"] {
            let body = format!(" {{\"model\":\"a}}\", \"x\":{{}} }}{rest}");
            let object = " {\"model\":\"a}\", \"x\":{} }";
            assert_eq!(settled(body.as_bytes()), object, "{rest:?}");
        }
        let body = b"{\"model\":\"a\"} \r\n";
        assert_eq!(settled(body).as_bytes(), body, "space is nothing");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_all_else_is_kept() {
        assert_eq!(settled(b"{\"a\":\"caf\xe9\"} x"), "{\"a\":\"caf\u{fffd}\"}");
        let body = br#"{"model":"a","prompt":"cut in an emoji \ud83d"}"#;
        assert_eq!(settled(body).as_bytes(), body);
        assert_eq!(settled(b"[\xff"), "[\u{fffd}");
    }
}
