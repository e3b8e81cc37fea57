//! Records of known cost, and the books they must lead to.
//!
//! Each record has a tag of its own among its payers, so that the database itself says which of them
//! were counted, and how often. From those every other table is computed anew, and compared.

use std::collections::{BTreeMap, BTreeSet};

use herdsman::domain::{Charge, EntityKind, ModelName, Payer, TokenCounts, UsageRecord};
use herdsman::store::Store;

use super::looked;

/// 2026-03-14, two minutes before midnight UTC: records lie on both sides of it.
const START: i64 = 1_773_532_680;

/// Record `n`.
pub fn record(n: u64) -> UsageRecord {
    let bill = Bill::of(n);
    UsageRecord {
        endpoint: bill.endpoint.into(),
        model: ModelName::parse(&bill.model).unwrap(),
        at: bill.at,
        tokens: TokenCounts {
            input: bill.input,
            output: bill.output,
        },
        estimated: false,
        charge: Charge {
            nano_usd: i64::try_from(bill.nano_usd).unwrap(),
            api_key: bill.key.as_str().into(),
            payers: bill
                .payers
                .into_iter()
                .map(|(kind, entity, period)| Payer {
                    kind,
                    entity: entity.into(),
                    period,
                })
                .collect(),
        },
        failed: bill.failed,
    }
}

struct Bill {
    endpoint: String,
    model: String,
    at: i64,
    input: u64,
    output: u64,
    nano_usd: u64,
    key: String,
    failed: bool,
    payers: Vec<(EntityKind, String, i64)>,
}

impl Bill {
    fn of(n: u64) -> Self {
        let at = START + i64::try_from(n % 240).unwrap();
        let (input, output) = (10 + n % 97, 1 + n % 31);
        let key = format!("{:064x}", n % 40);
        // The budget of a team began anew in between.
        let period = if n % 240 < 120 { 1_000 } else { START + 120 };
        let payers = vec![
            (EntityKind::Key, key.clone(), 0),
            (EntityKind::User, format!("user-{}", n % 20), 0),
            (EntityKind::Team, format!("team-{}", n % 5), period),
            (EntityKind::Tag, format!("r{n}"), 0),
        ];
        Self {
            endpoint: format!("gpu-{}", n % 3),
            model: format!("model-{}:latest", n % 4),
            at,
            input,
            output,
            nano_usd: input * 50 + output * 200 + n % 7,
            key,
            failed: n % 50 == 49,
            payers,
        }
    }
}

/// Money, read, written, requests.
type Sums = [i64; 4];
/// The sums, and failed requests.
type DaySums = [i64; 5];

/// What the database says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Books {
    spend: BTreeMap<(String, String), Sums>,
    periods: BTreeMap<(String, String, i64), Sums>,
    daily: BTreeMap<[String; 6], DaySums>,
    counts: BTreeMap<(String, String), [i64; 2]>,
    minutes: BTreeMap<(String, String, i64), [i64; 2]>,
}

impl Books {
    pub async fn of(store: &Store) -> Self {
        let mut books = Self::default();
        for kind in EntityKind::ALL {
            for row in looked(async || store.spent(kind).await).await {
                let key = (row.kind, row.entity);
                let requests = row.requests;
                let sums = [
                    row.spend_nano_usd,
                    row.input_tokens,
                    row.output_tokens,
                    requests,
                ];
                books.spend.insert(key, sums);
            }
        }
        for row in looked(async || store.spent_in_periods(0).await).await {
            let key = (row.kind, row.entity, row.period_start);
            let requests = row.requests;
            let sums = [
                row.spend_nano_usd,
                row.input_tokens,
                row.output_tokens,
                requests,
            ];
            books.periods.insert(key, sums);
        }
        for row in looked(async || {
            store
                .daily_spent("0000-01-01", "9999-12-31", 1_000_000)
                .await
        })
        .await
        {
            let key = [
                row.kind,
                row.entity,
                row.date,
                row.api_key,
                row.model,
                row.endpoint,
            ];
            let sums = [
                row.spend_nano_usd,
                row.input_tokens,
                row.output_tokens,
                row.requests,
                row.failed_requests,
            ];
            books.daily.insert(key, sums);
        }
        for row in looked(async || store.token_counts().await).await {
            let key = (row.endpoint, row.model);
            books
                .counts
                .insert(key, [row.input_tokens, row.output_tokens]);
        }
        for n in 0..4 {
            let model = ModelName::parse(&format!("model-{n}")).unwrap();
            for row in looked(async || store.time_series(&model, u32::MAX).await).await {
                let key = (row.endpoint, row.model, row.timestamp);
                books
                    .minutes
                    .insert(key, [row.input_tokens, row.output_tokens]);
            }
        }
        books
    }

    /// What counting each of these once leads to.
    pub fn counting(numbers: &BTreeSet<u64>) -> Self {
        let mut books = Self::default();
        for &n in numbers {
            let bill = Bill::of(n);
            let [money, input, output] =
                [bill.nano_usd, bill.input, bill.output].map(|x| i64::try_from(x).unwrap());
            let sums = [money, input, output, i64::from(!bill.failed)];
            let [.., requests] = sums;
            let date = if bill.at < START + 120 {
                "2026-03-14"
            } else {
                "2026-03-15"
            };
            for (kind, entity, period) in bill.payers {
                let kind = kind.to_string();
                add(books.spend.entry((kind.clone(), entity.clone())), sums);
                if period != 0 {
                    add(
                        books.periods.entry((kind.clone(), entity.clone(), period)),
                        sums,
                    );
                }
                let key = [kind, entity, date.to_owned(), bill.key.clone()];
                let [a, b, c, d] = key;
                let key = [a, b, c, d, bill.model.clone(), bill.endpoint.clone()];
                let day = [money, input, output, requests, i64::from(bill.failed)];
                add(books.daily.entry(key), day);
            }
            let pair = (bill.endpoint.clone(), bill.model.clone());
            add(books.counts.entry(pair), [input, output]);
            let minute = (bill.endpoint, bill.model, bill.at / 60 * 60);
            add(books.minutes.entry(minute), [input, output]);
        }
        books
    }

    /// Which records were counted, and a check that each was counted once.
    pub fn counted(&self) -> BTreeSet<u64> {
        let tags = self.spend.iter().filter(|((kind, _), _)| kind == "tag");
        tags.map(|((_, entity), sums)| {
            let n: u64 = entity.strip_prefix('r').unwrap().parse().unwrap();
            let bill = Bill::of(n);
            assert_eq!(
                sums[0],
                i64::try_from(bill.nano_usd).unwrap(),
                "record {n}: {sums:?}"
            );
            n
        })
        .collect()
    }

    /// Everything acknowledged is there, nothing is there twice, and every table says the same, to the
    /// token and the nano-USD.
    pub fn must_hold(&self, acknowledged: &BTreeSet<u64>) {
        let counted = self.counted();
        let lost: Vec<_> = acknowledged.difference(&counted).take(20).collect();
        assert!(lost.is_empty(), "acknowledged, and not counted: {lost:?}");
        let expected = Self::counting(&counted);
        assert_same("spend", &self.spend, &expected.spend);
        assert_same("spend_periods", &self.periods, &expected.periods);
        assert_same("daily_spend", &self.daily, &expected.daily);
        assert_same("token_counts", &self.counts, &expected.counts);
        assert_same("token_time_series", &self.minutes, &expected.minutes);
    }
}

fn assert_same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    table: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) {
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(key, sums)| found.get(key) != Some(sums))
        .map(|(key, sums)| (key, found.get(key), sums))
        .take(5)
        .collect();
    assert!(wrong.is_empty(), "{table}, found and expected: {wrong:#?}");
    assert_eq!(found.len(), expected.len(), "{table} has more rows");
}

fn add<K: Ord, const N: usize>(
    entry: std::collections::btree_map::Entry<'_, K, [i64; N]>,
    sums: [i64; N],
) {
    let into = entry.or_insert([0; N]);
    for (into, sum) in into.iter_mut().zip(sums) {
        *into += sum;
    }
}
