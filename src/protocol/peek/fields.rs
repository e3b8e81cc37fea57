//! Which keys of a request count, matched as the server matches them.
//!
//! Go's decoder takes a key in any case, and by Unicode's simple folding, in which `ſ` is an `s`
//! and the Kelvin sign a `k`. A router that reads only `model` could be told one model while the
//! server loads another; so the folding is Go's, to the letter.

use serde_json::value::RawValue;

use super::{BadRequest, walk};
use crate::protocol::Dialect;

/// The keys of the top-level object that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Model,
    Name,
    Stream,
    StreamOptions,
    Options,
    User,
    Messages,
    Prompt,
    Input,
    System,
    Suffix,
    Tools,
    MaxTokens,
    MaxCompletionTokens,
    N,
    KeepAlive,
    Shift,
    Instructions,
    MaxOutputTokens,
    Metadata,
}

const FIELDS: usize = 20;
const LONGEST: usize = "max_completion_tokens".len();

impl Field {
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let mut folded = [0; LONGEST];
        Some(match fold(key, &mut folded)? {
            b"model" => Self::Model,
            b"name" => Self::Name,
            b"stream" => Self::Stream,
            b"stream_options" => Self::StreamOptions,
            b"options" => Self::Options,
            b"user" => Self::User,
            b"messages" => Self::Messages,
            b"prompt" => Self::Prompt,
            b"input" => Self::Input,
            b"system" => Self::System,
            b"suffix" => Self::Suffix,
            b"tools" => Self::Tools,
            b"max_tokens" => Self::MaxTokens,
            b"max_completion_tokens" => Self::MaxCompletionTokens,
            b"n" => Self::N,
            b"keep_alive" => Self::KeepAlive,
            b"shift" => Self::Shift,
            b"instructions" => Self::Instructions,
            b"max_output_tokens" => Self::MaxOutputTokens,
            b"metadata" => Self::Metadata,
            _ => return None,
        })
    }

    /// Go reads `null` into it as nothing at all, where it reads it into others as their absence: what can be absent
    /// (a pointer there) differs between the APIs.
    const fn keeps_its_value_over_null(self, dialect: Dialect) -> bool {
        match self {
            Self::Model | Self::Name => true,
            Self::Stream => !matches!(dialect, Dialect::Ollama),
            _ => false,
        }
    }

    /// The keys on which router and server must agree.
    pub(super) const fn must_agree(self) -> Option<&'static str> {
        match self {
            Self::Model => Some("model"),
            Self::Name => Some("name"),
            Self::Stream => Some("stream"),
            Self::StreamOptions => Some("stream_options"),
            _ => None,
        }
    }
}

/// Whether Go reads `key` as `lower`, which is in lower case.
pub(super) fn is_key(key: &[u8], lower: &str) -> bool {
    let mut folded = [0; LONGEST];
    fold(key, &mut folded).is_some_and(|key| key == lower.as_bytes())
}

/// Whether a key that counts is spelt as it is documented.
fn is_plain(key: &[u8]) -> bool {
    key.iter()
        .all(|byte| byte.is_ascii_lowercase() || *byte == b'_')
}

/// `key` in lower case, as Go folds it.
pub(in crate::protocol) fn folded(key: &[u8]) -> String {
    let mut folded = vec![0; key.len()];
    let folded = fold(key, &mut folded).unwrap_or_default();
    String::from_utf8_lossy(folded).into_owned()
}

/// `key` in lower case; nothing when it is longer than any key that counts.
fn fold<'b>(mut key: &[u8], folded: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut len = 0;
    while let Some((&first, rest)) = key.split_first() {
        let (byte, rest) = match (first, rest) {
            (0xC5, [0xBF, rest @ ..]) => (b's', rest),
            (0xE2, [0x84, 0xAA, rest @ ..]) => (b'k', rest),
            _ => (first.to_ascii_lowercase(), rest),
        };
        *folded.get_mut(len)? = byte;
        len += 1;
        key = rest;
    }
    folded.get(..len)
}

/// The raw values of the keys that count. Of a repeated one, the last, as everywhere.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    values: [Option<&'a RawValue>; FIELDS],
    /// Given again, with another value.
    repeated: [bool; FIELDS],
    /// In another spelling than its own.
    respelt: [bool; FIELDS],
    /// Something follows the object.
    followed: bool,
}

impl<'a> Fields<'a> {
    /// Walks the top-level object once.
    pub(super) fn read(json: &'a str, dialect: Dialect) -> Result<Self, serde_json::Error> {
        let mut fields = Self {
            values: [None; FIELDS],
            repeated: [false; FIELDS],
            respelt: [false; FIELDS],
            followed: false,
        };
        fields.followed = walk::entries(json, |key, value| {
            if let Some(field) = Field::of(key) {
                let slot = &mut fields.values[field as usize];
                let other = slot.is_some_and(|former| former.get() != value.get());
                fields.repeated[field as usize] |= other;
                fields.respelt[field as usize] |= !is_plain(key);
                let kept =
                    other && value.get() == "null" && field.keeps_its_value_over_null(dialect);
                if !kept {
                    *slot = Some(value);
                }
            }
        })?;
        Ok(fields)
    }

    /// The raw text under `field`; `null` is as good as nothing, as in Go.
    pub(super) fn get(&self, field: Field) -> Option<&'a str> {
        self.raw(field).filter(|json| *json != "null")
    }

    /// The raw text under `field`, `null` too.
    pub(super) fn raw(&self, field: Field) -> Option<&'a str> {
        self.values[field as usize].map(RawValue::get)
    }

    /// True when it was given again, with another value: readers may differ in which one counts.
    pub(super) fn is_repeated(&self, field: Field) -> bool {
        self.repeated[field as usize]
    }

    /// True when a server that folds no keys, as Go does, would not find it.
    pub(super) fn is_respelt(&self, field: Field) -> bool {
        self.respelt[field as usize]
    }

    /// Refuses a body of which the object is not all.
    pub(super) fn ends_body(&self) -> Result<(), BadRequest> {
        match self.followed {
            true => Err(BadRequest::Followed),
            false => Ok(()),
        }
    }

    /// Refuses a field with two values on which router and server must agree.
    pub(super) fn once(&self, field: Field) -> Result<(), BadRequest> {
        match field.must_agree() {
            Some(key) if self.repeated[field as usize] => Err(BadRequest::Repeated(key)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_matched_in_any_case_as_go_folds_them() {
        for key in ["model", "Model", "MODEL"] {
            assert_eq!(Field::of(key.as_bytes()), Some(Field::Model), "{key}");
        }
        assert_eq!(Field::of("ſtream".as_bytes()), Some(Field::Stream));
        assert_eq!(
            Field::of("Max_To\u{212a}ens".as_bytes()),
            Some(Field::MaxTokens)
        );
        assert!(is_key(b"Include_Usage", "include_usage"));
        assert_eq!(folded("ſYSTEM_\u{212a}ä".as_bytes()), "system_kä");
    }

    #[test]
    fn other_keys_are_none_of_ours() {
        for key in [
            "",
            "mode",
            "models",
            "model ",
            "mödel",
            "a_very_long_key_that_no_one_reads",
        ] {
            assert_eq!(Field::of(key.as_bytes()), None, "{key}");
        }
        assert_eq!(Field::of(b"\xC5"), None);
    }
}
