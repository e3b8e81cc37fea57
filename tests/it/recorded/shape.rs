//! What two answers must have in common to be alike: status, type, place, the words of an error, the
//! keys of JSON in their order, the events of a stream. Not the words a model says, times, ids,
//! digests, sizes and counts.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::call::Call;
use crate::support::Answer;

/// What is under these keys depends on the model.
const FREE: [&str; 8] = [
    "context",
    "bytes",
    "model_info",
    "tensors",
    "top_logprobs",
    "parameters",
    "families",
    "system",
];

/// The first thing in which an answer differs from the recorded one.
pub fn difference(call: &Call, answer: &Answer) -> Option<String> {
    let recorded = Answer::from(call);
    // An answer without a body needs no type, and a long one was not written down whole.
    if call.is_head() || call.answer.is_empty() {
        return head(answer, &recorded);
    }
    if call.answer.contains(" … ") {
        return head(answer, &recorded).or_else(|| types(answer, &recorded));
    }
    unlike(answer, &recorded)
}

/// The first thing in which an answer differs from a whole one.
pub fn unlike(answer: &Answer, real: &Answer) -> Option<String> {
    head(answer, real)
        .or_else(|| types(answer, real))
        .or_else(|| bodies(answer, real))
}

fn head(answer: &Answer, real: &Answer) -> Option<String> {
    let (own, expected) = (answer.header("location"), real.header("location"));
    differs("status", answer.status.as_str(), real.status.as_str())
        .or_else(|| differs("location", own, expected))
}

fn types(answer: &Answer, real: &Answer) -> Option<String> {
    differs("content type", kind(answer), kind(real))
}

fn bodies(answer: &Answer, real: &Answer) -> Option<String> {
    let (own, real) = (events(answer), events(real));
    let at = (0..own.len().max(real.len())).find(|at| own.get(*at) != real.get(*at))?;
    let show = |events: &[String]| events.get(at).cloned().unwrap_or_default();
    differs(&format!("event {at}"), &show(&own), &show(&real))
}

fn differs(what: &str, own: &str, real: &str) -> Option<String> {
    (own != real).then(|| format!("{what}: {own:?} for {real:?}"))
}

fn kind(answer: &Answer) -> &str {
    let kind = answer.header("content-type");
    kind.split(';').next().unwrap_or_default()
}

/// The shapes of an answer's objects; equal ones that follow one another count once.
fn events(answer: &Answer) -> Vec<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let mut shapes: Vec<_> = match kind(answer) {
        "text/event-stream" => text.split("\n\n").map(server_sent).collect(),
        "application/json" | "application/x-ndjson" => text.trim().lines().map(line).collect(),
        _ => vec![text.trim().to_owned()],
    };
    shapes.retain(|shape| !shape.is_empty());
    shapes.dedup();
    shapes
}

fn server_sent(block: &str) -> String {
    let lines = block.lines().map(|text| match text.strip_prefix("data: ") {
        Some(data) if data != "[DONE]" => line(data),
        _ => text.to_owned(),
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn line(text: &str) -> String {
    let Ok(json) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    let mut shape = String::new();
    write(&json, &mut shape);
    shape
}

/// JSON whose keys keep their order.
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Other,
}

fn write(json: &Json, shape: &mut String) {
    match json {
        Json::Object(entries) => {
            shape.push('{');
            for (key, value) in entries {
                // Left out while nothing is done, so the first line of a layer may lack it.
                if key == "completed" {
                    continue;
                }
                shape.push_str(key);
                shape.push(' ');
                match (key.as_str(), value) {
                    (key, _) if FREE.contains(&key) => {}
                    ("error" | "message" | "status", Json::Text(words)) => {
                        shape.push_str(&general(words));
                    }
                    (_, value) => write(value, shape),
                }
            }
            shape.push('}');
        }
        Json::Array(values) => {
            // Without an entry it says no more than `null`.
            if let Some(first) = values.first() {
                shape.push('[');
                write(first, shape);
                shape.push(']');
            }
        }
        Json::Text(_) | Json::Other => {}
    }
}

/// Without what is different on each server: paths, digests, counts.
fn general(words: &str) -> String {
    let mut general = String::new();
    for word in words.split_inclusive([' ', '"', ':', '/', '-', '\\', '.', ',']) {
        let own = word.trim_end_matches([' ', '"', ':', '/', '-', '\\', '.', ',']);
        let end = &word[own.len()..];
        let counted = own.bytes().all(|byte| byte.is_ascii_digit());
        let hashed = own.len() == 64 && own.bytes().all(|byte| byte.is_ascii_hexdigit());
        general.push_str(if hashed || (counted && !own.is_empty()) {
            "0"
        } else {
            own
        });
        general.push_str(end);
    }
    general
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Json;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Json::Object(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Json::Array(values))
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
