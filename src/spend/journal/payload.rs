//! What is inside a frame: compact JSON, so that a human with `strings` can read a journal.
//!
//! The header carries the format's version. A later version may add fields that this one skips; it
//! raises the version only when this one would count wrongly.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::{TokenCounts, UsageRecord};

/// The version written, and the newest one read.
pub(super) const FORMAT: u32 = 1;

/// No answer has four billion tokens. A server that says so is not believed, lest a sum of its
/// claims leave the range of SQL's integers and make a batch that can never be applied.
const MOST_TOKENS: u64 = u32::MAX as u64;

/// The payload of a segment's first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) producer: String,
}

/// The payload of a record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record<'a> {
    #[serde(rename = "e", borrow)]
    pub(super) endpoint: Cow<'a, str>,
    #[serde(rename = "m", borrow)]
    pub(super) model: Cow<'a, str>,
    #[serde(rename = "t")]
    pub(super) at: i64,
    #[serde(rename = "i")]
    input: u64,
    #[serde(rename = "o")]
    output: u64,
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

/// The payload of a seal: how many records the batch has, so that damage can be told in numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seal {
    pub(super) records: u64,
}

impl<'a> From<&'a UsageRecord> for Record<'a> {
    fn from(record: &'a UsageRecord) -> Self {
        Self {
            endpoint: Cow::Borrowed(&record.endpoint),
            model: Cow::Borrowed(record.model.as_str()),
            at: record.at,
            input: record.tokens.input.min(MOST_TOKENS),
            output: record.tokens.output.min(MOST_TOKENS),
            estimated: record.estimated,
        }
    }
}

impl Record<'_> {
    pub(super) fn tokens(&self) -> TokenCounts {
        TokenCounts {
            input: self.input,
            output: self.output,
        }
    }
}

/// Appends `payload` as JSON.
pub(super) fn write(buffer: &mut Vec<u8>, payload: &impl Serialize) {
    // Only a map with keys that are no strings, or a full disk under the writer, could fail here.
    let written = serde_json::to_writer(buffer, payload);
    debug_assert!(written.is_ok(), "these types are always JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Charge, ModelName};

    #[test]
    fn a_record_is_short_and_readable() {
        let mut buffer = Vec::new();
        let record = UsageRecord {
            endpoint: "gpu-\"1\"".into(),
            model: ModelName::parse("llama3.2").unwrap(),
            at: 1_700_000_000,
            tokens: TokenCounts {
                input: 12,
                output: u64::MAX,
            },
            estimated: false,
            charge: Charge::default(),
            failed: false,
        };
        write(&mut buffer, &Record::from(&record));
        insta::assert_snapshot!(String::from_utf8(buffer.clone()).unwrap(), @r#"{"e":"gpu-\"1\"","m":"llama3.2:latest","t":1700000000,"i":12,"o":4294967295}"#);
        let read: Record<'_> = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(
            (&*read.endpoint, &*read.model),
            ("gpu-\"1\"", "llama3.2:latest")
        );
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let text = r#"{"e":"a","m":"b","t":1,"i":2,"o":3,"new":[{}]}"#;
        let read: Record<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(
            read.tokens(),
            TokenCounts {
                input: 2,
                output: 3
            }
        );
    }
}
