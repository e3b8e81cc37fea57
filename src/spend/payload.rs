//! A sealed batch as text: in Redis, and in dead letters.
//!
//! JSON, because it is read by routers of another version and by people with `redis-cli`. Each name
//! is in it once, and rows name it by its place, so that ten thousand rows about a hundred accounts
//! are not ten thousand times the SHA-256 of a key.
//!
//! The version says how to count it. A later version may add fields, which this one skips; it raises
//! the version only where this one would count wrongly, and such a batch is left to a router that
//! understands it: its producer does.

use std::borrow::Cow;
use std::sync::Arc;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::kind;
use crate::domain::{EntityKind, TokenCounts};
use crate::store::{BatchId, BatchRow, DailyRow, SealedBatch, SpendRow, SpendSums};

/// The version written, and the newest one read.
pub(super) const VERSION: u32 = 1;

/// A batch is closed long before.
const MOST_RECORDS: u64 = 1 << 32;

/// Why it is no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undecodable {
    /// Written by a later version: nothing is wrong with it.
    #[error("version {0} of it is not known here")]
    Later(u32),
    /// Nobody's batch.
    #[error("{0}")]
    Garbage(String),
}

#[derive(Serialize, Deserialize)]
struct Text<'a> {
    v: u32,
    producer: String,
    seq: u64,
    records: u64,
    oldest: i64,
    #[serde(borrow)]
    names: Vec<Cow<'a, str>>,
    tokens: Vec<Tokens>,
    spend: Vec<Spend>,
    daily: Vec<Daily>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Endpoint, model, minute, read, written.
#[derive(Serialize, Deserialize)]
struct Tokens(usize, usize, i64, u64, u64);

/// Kind, entity, period, sums.
#[derive(Serialize, Deserialize)]
struct Spend(#[serde(with = "kind")] EntityKind, usize, i64, Sums);

/// Kind, entity, day, key, model, endpoint, sums, failed.
#[derive(Serialize, Deserialize)]
struct Daily(
    #[serde(with = "kind")] EntityKind,
    usize,
    i64,
    usize,
    usize,
    usize,
    Sums,
    u64,
);

/// Money, read, written, requests.
#[derive(Serialize, Deserialize)]
struct Sums(u64, u64, u64, u64);

/// `batch` as text.
pub(super) fn encode(batch: &SealedBatch) -> String {
    let mut names = Names::default();
    let tokens = batch.rows.iter().map(|row| {
        let (endpoint, model) = (names.place(&row.endpoint), names.place(&row.model));
        let tokens = row.tokens;
        Tokens(endpoint, model, row.minute, tokens.input, tokens.output)
    });
    let tokens = tokens.collect();
    let spend = batch.spend.iter().map(|row| {
        let entity = names.place(&row.entity);
        Spend(row.kind, entity, row.period, row.spent.into())
    });
    let spend = spend.collect();
    let daily = batch.daily.iter().map(|row| {
        Daily(
            row.kind,
            names.place(&row.entity),
            row.at,
            names.place(&row.api_key),
            names.place(&row.model),
            names.place(&row.endpoint),
            row.spent.into(),
            row.failed_requests,
        )
    });
    let daily = daily.collect();
    let text = Text {
        v: VERSION,
        producer: batch.id.producer.to_string(),
        seq: batch.id.seq,
        records: batch.records,
        oldest: batch.oldest,
        names: names.names,
        tokens,
        spend,
        daily,
    };
    // Only a map with keys that are no strings could fail here.
    let encoded = serde_json::to_string(&text);
    debug_assert!(encoded.is_ok(), "these types are always JSON");
    encoded.unwrap_or_default()
}

/// The batch that `text` says.
pub(super) fn decode(text: &[u8]) -> Result<SealedBatch, Undecodable> {
    let read: Text<'_> = match serde_json::from_slice(text) {
        Ok(Text { v, .. }) if v > VERSION => return Err(Undecodable::Later(v)),
        Ok(read) => read,
        Err(error) => {
            return Err(match serde_json::from_slice(text) {
                Ok(Version { v }) if v > VERSION => Undecodable::Later(v),
                _ => Undecodable::Garbage(error.to_string()),
            });
        }
    };
    if read.records > MOST_RECORDS {
        let why = format!("no batch has {} requests", read.records);
        return Err(Undecodable::Garbage(why));
    }
    let names: Vec<Arc<str>> = read.names.iter().map(|name| Arc::from(&**name)).collect();
    let name = |place: usize| {
        let name = names.get(place).map(Arc::clone);
        name.ok_or_else(|| Undecodable::Garbage(format!("there is no name {place}")))
    };
    let producer = read.producer.parse();
    let producer = producer.map_err(|_| Undecodable::Garbage("no id of a producer".to_owned()))?;
    let rows = read.tokens.into_iter().map(|row| {
        Ok(BatchRow {
            endpoint: name(row.0)?,
            model: name(row.1)?,
            minute: row.2,
            tokens: TokenCounts {
                input: row.3,
                output: row.4,
            },
        })
    });
    let spend = read.spend.into_iter().map(|row| {
        Ok(SpendRow {
            kind: row.0,
            entity: name(row.1)?,
            period: row.2,
            spent: row.3.into(),
        })
    });
    let daily = read.daily.into_iter().map(|row| {
        Ok(DailyRow {
            kind: row.0,
            entity: name(row.1)?,
            at: row.2,
            api_key: name(row.3)?,
            model: name(row.4)?,
            endpoint: name(row.5)?,
            spent: row.6.into(),
            failed_requests: row.7,
        })
    });
    Ok(SealedBatch {
        id: BatchId {
            producer,
            seq: read.seq,
        },
        rows: rows.collect::<Result<_, _>>()?,
        spend: spend.collect::<Result<_, _>>()?,
        daily: daily.collect::<Result<_, _>>()?,
        records: read.records,
        oldest: read.oldest,
    })
}

/// Rows in it that belong to a minute or a day.
pub(super) fn timed_rows(batch: &SealedBatch) -> u64 {
    (batch.rows.len() + batch.daily.len()) as u64
}

#[derive(Default)]
struct Names<'a> {
    places: HashMap<&'a str, usize>,
    names: Vec<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    fn place(&mut self, name: &'a str) -> usize {
        *self.places.entry(name).or_insert_with(|| {
            self.names.push(Cow::Borrowed(name));
            self.names.len() - 1
        })
    }
}

impl From<SpendSums> for Sums {
    fn from(sums: SpendSums) -> Self {
        Self(sums.nano_usd, sums.input, sums.output, sums.requests)
    }
}

impl From<Sums> for SpendSums {
    fn from(sums: Sums) -> Self {
        Self {
            nano_usd: sums.0,
            input: sums.1,
            output: sums.2,
            requests: sums.3,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn example() -> SealedBatch {
        let spent = SpendSums {
            nano_usd: 5,
            input: 10,
            output: 1,
            requests: 1,
        };
        SealedBatch {
            id: BatchId {
                producer: Uuid::nil(),
                seq: 7,
            },
            rows: vec![BatchRow {
                endpoint: "gpu-1".into(),
                model: "llama3.2:latest".into(),
                minute: 60,
                tokens: TokenCounts {
                    input: 10,
                    output: 1,
                },
            }],
            spend: vec![SpendRow {
                kind: EntityKind::Tag,
                entity: "a \"b\"".into(),
                period: 0,
                spent,
            }],
            daily: vec![DailyRow {
                kind: EntityKind::Tag,
                entity: "a \"b\"".into(),
                at: 0,
                api_key: "".into(),
                model: "llama3.2:latest".into(),
                endpoint: "gpu-1".into(),
                spent,
                failed_requests: 2,
            }],
            records: 3,
            oldest: 61,
        }
    }

    #[test]
    fn a_batch_is_text_that_says_what_it_is() {
        insta::assert_snapshot!(encode(&example()), @r#"{"v":1,"producer":"00000000-0000-0000-0000-000000000000","seq":7,"records":3,"oldest":61,"names":["gpu-1","llama3.2:latest","a \"b\"",""],"tokens":[[0,1,60,10,1]],"spend":[["tag",2,0,[5,10,1,1]]],"daily":[["tag",2,0,3,1,0,[5,10,1,1],2]]}"#);
    }

    #[test]
    fn what_a_later_version_wrote_is_told_from_what_nobody_wrote() {
        let later = encode(&example()).replace("\"v\":1", "\"v\":2");
        assert_eq!(decode(later.as_bytes()), Err(Undecodable::Later(2)));
        let other = br#"{"v":3,"everything":"else"}"#;
        assert_eq!(decode(other), Err(Undecodable::Later(3)));
        let added = encode(&example()).replace("\"v\":1", "\"v\":1,\"new\":[{}]");
        assert_eq!(decode(added.as_bytes()), Ok(example()));
        let unnamed = encode(&example()).replace("[0,1,60,", "[0,9,60,");
        let absurd = encode(&example()).replace("\"records\":3", "\"records\":4294967297");
        for garbage in [
            &b""[..],
            b"{}",
            b"[1]",
            b"\xff",
            unnamed.as_bytes(),
            absurd.as_bytes(),
        ] {
            let read = decode(garbage);
            assert!(matches!(read, Err(Undecodable::Garbage(_))), "{read:?}");
        }
    }

    fn sums() -> impl Strategy<Value = SpendSums> {
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(a, b, c, d)| Sums(a, b, c, d).into())
    }

    fn name() -> impl Strategy<Value = Arc<str>> {
        "\\PC{0,8}|[\\x00-\\x1f]".prop_map(Arc::from)
    }

    prop_compose! {
        fn batch()(
            seq in any::<u64>(),
            producer in any::<u128>(),
            tokens in prop::collection::vec((name(), name(), any::<i64>(), any::<u64>()), 0..5),
            spend in prop::collection::vec((0..7_usize, name(), any::<i64>(), sums()), 0..5),
            daily in prop::collection::vec((0..7_usize, name(), any::<i64>(), name(), name(), name(), sums(), any::<u64>()), 0..5),
            records in 0..=MOST_RECORDS,
            oldest in any::<i64>(),
        ) -> SealedBatch {
            SealedBatch {
                id: BatchId { producer: Uuid::from_u128(producer), seq },
                rows: tokens.into_iter().map(|(endpoint, model, minute, input)| BatchRow {
                    endpoint, model, minute, tokens: TokenCounts { input, output: 1 },
                }).collect(),
                spend: spend.into_iter().map(|(kind, entity, period, spent)| SpendRow {
                    kind: EntityKind::ALL[kind], entity, period, spent,
                }).collect(),
                daily: daily.into_iter().map(
                    |(kind, entity, at, api_key, model, endpoint, spent, failed_requests)| DailyRow {
                        kind: EntityKind::ALL[kind], entity, at, api_key, model, endpoint, spent,
                        failed_requests,
                    }).collect(),
                records,
                oldest,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(batch in batch()) {
            prop_assert_eq!(decode(encode(&batch).as_bytes()), Ok(batch));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&bytes));
        }
    }
}
