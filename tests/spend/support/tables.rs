//! Every table that usage leads to: as a database has it, or as it must be.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use herdsman::domain::{EntityKind, ModelName};
use herdsman::store::Store;

use super::retried;

/// Money, read, written, requests.
pub type Sums = [i64; 4];
/// The sums, and failed requests.
pub type DaySums = [i64; 5];

/// What the tables say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub spend: BTreeMap<(String, String), Sums>,
    periods: BTreeMap<(String, String, i64), Sums>,
    pub daily: BTreeMap<[String; 6], DaySums>,
    counts: BTreeMap<(String, String), [i64; 2]>,
    minutes: BTreeMap<(String, String, i64), [i64; 2]>,
}

/// One request, and everybody who pays for it.
pub struct Posting {
    /// Kind, name, and when the period of its budget began: 0 where there is none.
    pub payers: Vec<(String, String, i64)>,
    pub api_key: String,
    pub model: String,
    pub endpoint: String,
    pub date: String,
    pub minute: i64,
    pub sums: DaySums,
}

impl Tables {
    pub async fn of(store: &Store) -> Self {
        let mut tables = Self::default();
        for kind in EntityKind::ALL {
            for row in retried(async || store.spent(kind).await).await {
                let key = (row.kind, row.entity);
                let requests = row.requests;
                let sums = [
                    row.spend_nano_usd,
                    row.input_tokens,
                    row.output_tokens,
                    requests,
                ];
                tables.spend.insert(key, sums);
            }
        }
        for row in retried(async || store.spent_in_periods(0).await).await {
            let key = (row.kind, row.entity, row.period_start);
            let requests = row.requests;
            let sums = [
                row.spend_nano_usd,
                row.input_tokens,
                row.output_tokens,
                requests,
            ];
            tables.periods.insert(key, sums);
        }
        for row in retried(async || {
            store
                .daily_spent("0000-01-01", "9999-12-31", 10_000_000)
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
            tables.daily.insert(key, sums);
        }
        for row in retried(async || store.token_counts().await).await {
            let key = (row.endpoint, row.model);
            tables
                .counts
                .insert(key, [row.input_tokens, row.output_tokens]);
        }
        let counted = tables.counts.keys().map(|(_, model)| model);
        let charged = tables.daily.keys().map(|[_, _, _, _, model, _]| model);
        let models: BTreeSet<_> = counted.chain(charged).collect();
        for model in models {
            let model = ModelName::parse(model).unwrap();
            for row in retried(async || store.time_series(&model, u32::MAX).await).await {
                let key = (row.endpoint, row.model, row.timestamp);
                tables
                    .minutes
                    .insert(key, [row.input_tokens, row.output_tokens]);
            }
        }
        tables
    }

    /// Adds what one request leads to.
    pub fn post(&mut self, posting: Posting) {
        let Posting {
            payers,
            api_key,
            model,
            endpoint,
            date,
            minute,
            sums,
        } = posting;
        let [money, input, output, requests, _] = sums;
        let total = [money, input, output, requests];
        for (kind, entity, period) in payers {
            add(self.spend.entry((kind.clone(), entity.clone())), total);
            if period != 0 {
                let key = (kind.clone(), entity.clone(), period);
                add(self.periods.entry(key), total);
            }
            let key = [kind, entity, date.clone(), api_key.clone()];
            let [a, b, c, d] = key;
            let key = [a, b, c, d, model.clone(), endpoint.clone()];
            add(self.daily.entry(key), sums);
        }
        // What failed before a server said anything has no tokens, and no row of them.
        if (input, output) != (0, 0) {
            let pair = (endpoint.clone(), model.clone());
            add(self.counts.entry(pair), [input, output]);
            add(
                self.minutes.entry((endpoint, model, minute)),
                [input, output],
            );
        }
    }

    /// All minutes together, for who does not know in which of them a request ended.
    pub fn regardless_of_minutes(mut self) -> Self {
        for ((endpoint, model, _), sums) in std::mem::take(&mut self.minutes) {
            add(self.minutes.entry((endpoint, model, 0)), sums);
        }
        self
    }

    /// Every table says the same, to the token and the nano-USD.
    pub fn must_equal(&self, expected: &Self) {
        assert_same("spend", &self.spend, &expected.spend);
        assert_same("spend_periods", &self.periods, &expected.periods);
        assert_same("daily_spend", &self.daily, &expected.daily);
        assert_same("token_counts", &self.counts, &expected.counts);
        assert_same("token_time_series", &self.minutes, &expected.minutes);
    }
}

fn assert_same<K: Ord + Debug, V: PartialEq + Debug>(
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

fn add<K: Ord, const N: usize>(entry: Entry<'_, K, [i64; N]>, sums: [i64; N]) {
    let into = entry.or_insert([0; N]);
    for (into, sum) in into.iter_mut().zip(sums) {
        *into += sum;
    }
}
