//! Where a request says how its model is to be loaded, and for how long.
//!
//! Ollama loads a model anew for a request with other options (`num_ctx` and those of the engine, `shift`), so
//! whoever loads it for a request must ask for the same ones. They are not picked out: a server that
//! is given all of a request's options takes those that matter, also those of later versions.

use std::ops::Range;

use super::fields::{Field, Fields};
use super::splice::{Splice, range_in};
use super::unload::seconds;
use super::walk;
use crate::protocol::api::{Api, Dialect};

const NUM_CTX: &[u8] = b"num_ctx";

/// Places in the body that was peeked at. Only Ollama's own calls have any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    keep_alive: Option<Range<usize>>,
    /// The duration is no unloading: to a request that says nothing else it means what it means here.
    keeps: bool,
    options: Option<Range<usize>>,
    shift: Option<Range<usize>>,
    /// Behind the first bracket, where a key that is not there can be put.
    inside: Option<usize>,
}

impl LoadOptions {
    /// `body` is the text `fields` was read from.
    pub(super) fn of(api: Api, body: &str, fields: &Fields<'_>) -> Self {
        if api.dialect() != Dialect::Ollama || !api.takes_slot() {
            return Self::default();
        }
        let range = |field| Some(range_in(body, fields.raw(field)?));
        let kept = fields.get(Field::KeepAlive).and_then(seconds);
        Self {
            keep_alive: range(Field::KeepAlive),
            keeps: kept.is_some_and(|kept| !(0.0..1.0).contains(&kept)),
            options: range(Field::Options),
            shift: range(Field::Shift),
            inside: body.find('{').map(|at| at + 1),
        }
    }

    /// The text, from its first key on, that a request for the load alone has of them: `,"key":value` each.
    #[must_use]
    pub fn copied(&self, body: &[u8]) -> String {
        let mut copied = String::new();
        let keep_alive = self.keep_alive.as_ref().filter(|_| self.keeps);
        for (key, range) in [
            ("keep_alive", keep_alive),
            ("options", self.options.as_ref()),
            ("shift", self.shift.as_ref()),
        ] {
            let json = range.and_then(|range| std::str::from_utf8(body.get(range.clone())?).ok());
            if let Some(json) = json {
                copied.push_str(",\"");
                copied.push_str(key);
                copied.push_str("\":");
                copied.push_str(json);
            }
        }
        copied
    }

    /// What makes of the request one that is kept for so long, as JSON, and with so many tokens of context.
    #[must_use]
    pub fn replaced(
        &self,
        body: &str,
        keep_alive: Option<String>,
        num_ctx: Option<u32>,
    ) -> Vec<Splice> {
        let Some(inside) = self.inside else {
            return Vec::new();
        };
        let mut splices = Vec::new();
        let mut added = String::new();
        match (keep_alive, &self.keep_alive) {
            (Some(json), Some(range)) => splices.push(Splice::new(range.clone(), json)),
            (Some(json), None) => added.push_str(&format!(r#""keep_alive":{json},"#)),
            (None, _) => {}
        }
        match (num_ctx, &self.options) {
            (Some(num_ctx), Some(range)) => splices.extend(with_num_ctx(body, range, num_ctx)),
            (Some(num_ctx), None) => {
                added.push_str(&format!(r#""options":{{"num_ctx":{num_ctx}}},"#));
            }
            (None, _) => {}
        }
        if !added.is_empty() {
            splices.push(Splice::new(inside..inside, added));
        }
        splices
    }
}

/// In options that are none, which the server refuses, nothing is changed.
fn with_num_ctx(body: &str, options: &Range<usize>, num_ctx: u32) -> Option<Splice> {
    let json = body.get(options.clone())?;
    if json == "null" {
        let text = format!(r#"{{"num_ctx":{num_ctx}}}"#);
        return Some(Splice::new(options.clone(), text));
    }
    let (mut known, mut empty) = (None, true);
    walk::entries(json, |key, value| {
        empty = false;
        // Ollama looks the names of options up as they are written; of several the last counts.
        if key == NUM_CTX {
            known = Some(range_in(body, value.get()));
        }
    })
    .ok()?;
    Some(match known {
        Some(range) => Splice::new(range, num_ctx.to_string()),
        None => {
            let inside = options.start + 1;
            let comma = if empty { "" } else { "," };
            let text = format!(r#""num_ctx":{num_ctx}{comma}"#);
            Splice::new(inside..inside, text)
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{peek, splice};
    use super::*;

    fn options(api: Api, body: &str) -> LoadOptions {
        peek(api, body.as_bytes()).unwrap().load_options
    }

    #[test]
    fn a_load_gets_the_options_of_its_request_as_they_are_written() {
        let body = r#"{"model":"m","Options":{"num_ctx": 8,"x":[1]},"prompt":"x","keep_alive":"10m","shift":false}"#;
        assert_eq!(
            options(Api::OllamaGenerate, body).copied(body.as_bytes()),
            r#","keep_alive":"10m","options":{"num_ctx": 8,"x":[1]},"shift":false"#
        );
        let plain = r#"{"model":"m"}"#;
        assert_eq!(options(Api::OllamaChat, plain).copied(plain.as_bytes()), "");
        let openai = r#"{"model":"m","options":{"num_ctx":8}}"#;
        let none = options(Api::OpenAiChat, openai);
        assert_eq!(none, LoadOptions::default(), "it does not know the key");
    }

    #[test]
    fn a_duration_that_unloads_is_not_asked_of_a_load() {
        for (keep_alive, kept) in [
            ("0", false),
            ("0.9", false),
            (r#""500ms""#, false),
            (r#""soon""#, false),
            ("null", false),
            ("1", true),
            ("-1", true),
            (r#""1h""#, true),
        ] {
            let body = format!(r#"{{"model":"m","prompt":"x","keep_alive":{keep_alive}}}"#);
            let copied = options(Api::OllamaGenerate, &body).copied(body.as_bytes());
            assert_eq!(!copied.is_empty(), kept, "{keep_alive}");
        }
    }

    #[test]
    fn what_the_operator_decides_stands_in_place_of_what_the_client_asks() {
        for (body, expected) in [
            (
                r#"{"model":"m"}"#,
                r#"{"keep_alive":"1h","options":{"num_ctx":7},"model":"m"}"#,
            ),
            (
                r#" {"model":"m","keep_alive":0,"options":{"num_ctx":9,"seed":1}}"#,
                r#" {"model":"m","keep_alive":"1h","options":{"num_ctx":7,"seed":1}}"#,
            ),
            (
                r#"{"model":"m","options":{ },"keep_alive":null}"#,
                r#"{"model":"m","options":{"num_ctx":7 },"keep_alive":"1h"}"#,
            ),
            (
                r#"{"model":"m","options":{"seed":1}}"#,
                r#"{"keep_alive":"1h","model":"m","options":{"num_ctx":7,"seed":1}}"#,
            ),
            (
                r#"{"model":"m","options":null}"#,
                r#"{"keep_alive":"1h","model":"m","options":{"num_ctx":7}}"#,
            ),
            (
                r#"{"model":"m","options":3}"#,
                r#"{"keep_alive":"1h","model":"m","options":3}"#,
            ),
        ] {
            let keep_alive = Some(r#""1h""#.to_owned());
            let splices = options(Api::OllamaChat, body).replaced(body, keep_alive, Some(7));
            let sent = splice(&Bytes::from(body), &splices);
            assert_eq!(sent, Bytes::from(expected));
        }
        let body = r#"{"model":"m","options":{}}"#;
        let none = options(Api::OllamaChat, body).replaced(body, None, None);
        assert!(none.is_empty());
    }
}
