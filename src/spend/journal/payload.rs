//! What is inside a frame: compact JSON, so that a human with `strings` can read a journal.
//!
//! The header carries the format's version. A later version may add fields that this one skips; it
//! raises the version only where this one would count wrongly. So a segment is of the lowest format
//! that counts it rightly: without accounts the version before accounts may still read it, and with
//! them it leaves the file to a version that knows charges.

use std::borrow::Cow;

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::domain::{self, EntityKind, TokenCounts, UsageRecord};
use crate::spend::kind;

/// Tokens, charged to nobody.
pub(super) const TOKENS: u32 = 1;
/// Records may have a [`Charge`]. The newest format read.
pub(super) const CHARGES: u32 = 2;

/// No answer has four billion tokens. Such a value of a server is capped, so that a sum of
/// them does not leave the range of SQL's integers and make a batch that can never be applied.
const MOST_TOKENS: u64 = u32::MAX as u64;

/// Nor does one cost a million dollars, whatever the price list says.
const MOST_NANO_USD: u64 = 1_000_000_000_000_000;

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
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) failed: bool,
    #[serde(
        rename = "c",
        borrow,
        default,
        skip_serializing_if = "Charge::has_no_payers"
    )]
    pub(super) charge: Charge<'a>,
}

/// Who is charged how much for a record.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Charge<'a> {
    #[serde(rename = "n")]
    pub(super) nano_usd: u64,
    #[serde(rename = "k", borrow)]
    pub(super) api_key: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    pub(super) payers: Payers<'a>,
}

/// As they are in a record to be written, or as they were read.
#[derive(Debug)]
pub(super) enum Payers<'a> {
    Given(&'a [domain::Payer]),
    Read(Vec<Payer<'a>>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payer<'a>(
    #[serde(with = "kind")] EntityKind,
    #[serde(borrow)] Cow<'a, str>,
    i64,
);

/// The payload of a seal: how many records the batch has, so that damage can be told in numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seal {
    pub(super) records: u64,
}

/// Whether it is written down as it is.
pub(super) fn is_plausible(record: &UsageRecord) -> bool {
    let money = u64::try_from(record.charge.nano_usd).is_ok_and(|cost| cost <= MOST_NANO_USD);
    money && record.tokens.input.max(record.tokens.output) <= MOST_TOKENS
}

impl<'a> From<&'a UsageRecord> for Record<'a> {
    fn from(record: &'a UsageRecord) -> Self {
        let charge = &record.charge;
        Self {
            endpoint: Cow::Borrowed(&record.endpoint),
            model: Cow::Borrowed(record.model.as_str()),
            at: record.at,
            input: record.tokens.input.min(MOST_TOKENS),
            output: record.tokens.output.min(MOST_TOKENS),
            estimated: record.estimated,
            failed: record.failed,
            charge: Charge {
                nano_usd: u64::try_from(charge.nano_usd)
                    .unwrap_or(0)
                    .min(MOST_NANO_USD),
                api_key: Cow::Borrowed(&charge.api_key),
                payers: Payers::Given(&charge.payers),
            },
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

impl Charge<'_> {
    /// It is charged to nobody.
    pub(super) fn has_no_payers(&self) -> bool {
        match &self.payers {
            Payers::Given(payers) => payers.is_empty(),
            Payers::Read(payers) => payers.is_empty(),
        }
    }
}

impl Default for Payers<'_> {
    fn default() -> Self {
        Self::Given(&[])
    }
}

impl Payers<'_> {
    /// Kind, id and budget period of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EntityKind, &str, i64)> {
        let (given, read): (&[domain::Payer], &[Payer<'_>]) = match self {
            Self::Given(payers) => (payers, &[]),
            Self::Read(payers) => (&[], payers),
        };
        let given = given.iter().map(|p| (p.kind, &*p.entity, p.period));
        given.chain(read.iter().map(|p| (p.0, &*p.1, p.2)))
    }
}

impl Serialize for Payers<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            self.iter()
                .map(|(kind, entity, period)| Payer(kind, Cow::Borrowed(entity), period)),
        )
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Payers<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::Read)
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
    use std::sync::Arc;

    use super::*;
    use crate::domain::ModelName;

    fn record() -> UsageRecord {
        UsageRecord {
            endpoint: "gpu-\"1\"".into(),
            model: ModelName::parse("llama3.2").unwrap(),
            at: 1_700_000_000,
            tokens: TokenCounts {
                input: 12,
                output: u64::MAX,
            },
            estimated: false,
            charge: domain::Charge::default(),
            failed: false,
        }
    }

    fn written(record: &UsageRecord) -> String {
        let mut buffer = Vec::new();
        write(&mut buffer, &Record::from(record));
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_record_is_short_and_readable() {
        let text = written(&record());
        insta::assert_snapshot!(text, @r#"{"e":"gpu-\"1\"","m":"llama3.2:latest","t":1700000000,"i":12,"o":4294967295}"#);
        let read: Record<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&*read.endpoint, &*read.model),
            ("gpu-\"1\"", "llama3.2:latest")
        );
        assert!(read.charge.has_no_payers());
    }

    #[test]
    fn a_charge_is_read_as_it_was_written() {
        let payer = |kind, entity: &str, period| domain::Payer {
            kind,
            entity: entity.into(),
            period,
        };
        let charged = UsageRecord {
            charge: domain::Charge {
                nano_usd: i64::MAX,
                api_key: "ab12".into(),
                payers: Arc::new([
                    payer(EntityKind::Key, "ab12", 0),
                    payer(EntityKind::TeamMember, "red\\\"ann\"", 1_700_000_000),
                ]),
            },
            failed: true,
            ..record()
        };
        let text = written(&charged);
        insta::assert_snapshot!(text, @r#"{"e":"gpu-\"1\"","m":"llama3.2:latest","t":1700000000,"i":12,"o":4294967295,"f":true,"c":{"n":1000000000000000,"k":"ab12","p":[["key","ab12",0],["team_member","red\\\"ann\"",1700000000]]}}"#);
        let read: Record<'_> = serde_json::from_str(&text).unwrap();
        let payers: Vec<_> = read.charge.payers.iter().collect();
        assert_eq!(
            payers,
            [
                (EntityKind::Key, "ab12", 0),
                (EntityKind::TeamMember, "red\\\"ann\"", 1_700_000_000)
            ]
        );
        assert_eq!(read.charge.nano_usd, MOST_NANO_USD);
        assert!(read.failed);
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
