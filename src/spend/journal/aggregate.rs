//! A batch while it grows: sums by endpoint and minute, by account, by account and day. Pure.
//!
//! Names are numbered when they are first seen, and sums are kept under numbers. So adding a record
//! costs a hash lookup per name and per sum, however many accounts there are, and no allocation for
//! names that are known. Its size is bounded by accounts × models × endpoints × days, however many
//! requests there are, which is what lets a batch stay open while the database is away.

use std::sync::Arc;

use foldhash::HashMap;

use super::payload::Record;
use crate::domain::{EntityKind, TokenCounts};
use crate::store::{BatchId, BatchRow, DailyRow, SealedBatch, SpendRow, SpendSums};

const DAY: i64 = 86_400;

/// Sums of records.
#[derive(Debug, Default)]
pub(super) struct Aggregate {
    names: Names,
    minutes: HashMap<MinuteKey, TokenCounts>,
    accounts: HashMap<AccountKey, SpendSums>,
    days: HashMap<DayKey, Daily>,
    records: u64,
    oldest: i64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MinuteKey {
    endpoint: Name,
    model: Name,
    minute: i64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AccountKey {
    kind: EntityKind,
    entity: Name,
    period: i64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DayKey {
    kind: EntityKind,
    entity: Name,
    /// Unix seconds of its midnight, in UTC.
    midnight: i64,
    api_key: Name,
    model: Name,
    endpoint: Name,
}

#[derive(Debug, Default)]
struct Daily {
    spent: SpendSums,
    failed_requests: u64,
}

impl Aggregate {
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let tokens = record.tokens();
        self.oldest = match self.records {
            0 => record.at,
            _ => self.oldest.min(record.at),
        };
        self.records += 1;
        let endpoint = self.names.number(&record.endpoint);
        let model = self.names.number(&record.model);
        if tokens != TokenCounts::ZERO {
            let minute = record.at.div_euclid(60) * 60;
            *self
                .minutes
                .entry(MinuteKey {
                    endpoint,
                    model,
                    minute,
                })
                .or_default() += tokens;
        }
        let charge = &record.charge;
        if charge.has_no_payers() {
            return;
        }
        let api_key = self.names.number(&charge.api_key);
        let midnight = record.at.div_euclid(DAY) * DAY;
        let spent = SpendSums {
            nano_usd: charge.nano_usd,
            input: tokens.input,
            output: tokens.output,
            requests: (!record.failed).into(),
        };
        for (kind, entity, period) in charge.payers.iter() {
            let entity = self.names.number(entity);
            let account = AccountKey {
                kind,
                entity,
                period,
            };
            add(self.accounts.entry(account).or_default(), spent);
            let day = DayKey {
                kind,
                entity,
                midnight,
                api_key,
                model,
                endpoint,
            };
            let daily = self.days.entry(day).or_default();
            add(&mut daily.spent, spent);
            daily.failed_requests += u64::from(record.failed);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Rows that belong to a time: those of the minutes and those of the days.
    pub(super) fn rows(&self) -> u64 {
        (self.minutes.len() + self.days.len()) as u64
    }

    /// Rows it would have for all tables.
    pub(super) fn row_count(&self) -> usize {
        self.minutes.len() + self.accounts.len() + self.days.len()
    }

    /// When the oldest record in it ended, in Unix seconds.
    pub(super) fn oldest(&self) -> Option<i64> {
        (!self.is_empty()).then_some(self.oldest)
    }

    /// Closes it under its name.
    pub(super) fn seal(self, id: BatchId) -> SealedBatch {
        let names = &self.names;
        let mut rows: Vec<BatchRow> = self
            .minutes
            .into_iter()
            .map(|(key, tokens)| BatchRow {
                endpoint: names.get(key.endpoint),
                model: names.get(key.model),
                minute: key.minute,
                tokens,
            })
            .collect();
        rows.sort_unstable_by(|a, b| {
            (&a.endpoint, &a.model, a.minute).cmp(&(&b.endpoint, &b.model, b.minute))
        });
        let spend = self.accounts.into_iter().map(|(key, spent)| SpendRow {
            kind: key.kind,
            entity: names.get(key.entity),
            period: key.period,
            spent,
        });
        let daily = self.days.into_iter().map(|(key, daily)| DailyRow {
            kind: key.kind,
            entity: names.get(key.entity),
            at: key.midnight,
            api_key: names.get(key.api_key),
            model: names.get(key.model),
            endpoint: names.get(key.endpoint),
            spent: daily.spent,
            failed_requests: daily.failed_requests,
        });
        let (mut spend, mut daily): (Vec<_>, Vec<_>) = (spend.collect(), daily.collect());
        // The same batch has the same content, to the order, whoever read it from wherever.
        spend.sort_unstable_by(|a: &SpendRow, b| order(a).cmp(&order(b)));
        daily.sort_unstable_by(|a: &DailyRow, b| day_order(a).cmp(&day_order(b)));
        SealedBatch {
            id,
            rows,
            spend,
            daily,
            records: self.records,
            oldest: self.oldest,
        }
    }
}

fn add(sum: &mut SpendSums, spent: SpendSums) {
    sum.nano_usd = sum.nano_usd.saturating_add(spent.nano_usd);
    sum.input = sum.input.saturating_add(spent.input);
    sum.output = sum.output.saturating_add(spent.output);
    sum.requests += spent.requests;
}

fn order(row: &SpendRow) -> (EntityKind, &str, i64) {
    (row.kind, &row.entity, row.period)
}

fn day_order(row: &DailyRow) -> (EntityKind, &str, i64, &str, &str, &str) {
    let (key, model, endpoint) = (&row.api_key, &row.model, &row.endpoint);
    (row.kind, &row.entity, row.at, key, model, endpoint)
}

/// A name's number within one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name(usize);

#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Arc<str>, Name>,
    names: Vec<Arc<str>>,
}

impl Names {
    fn number(&mut self, name: &str) -> Name {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let (number, name) = (Name(self.names.len()), Arc::<str>::from(name));
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    fn get(&self, number: Name) -> Arc<str> {
        Arc::clone(&self.names[number.0])
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Charge, ModelName, Payer, UsageRecord};

    fn payer(kind: EntityKind, entity: &str, period: i64) -> Payer {
        Payer {
            kind,
            entity: entity.into(),
            period,
        }
    }

    fn record(at: i64, nano_usd: i64, payers: Vec<Payer>) -> UsageRecord {
        UsageRecord {
            endpoint: "gpu-1".into(),
            model: ModelName::parse("llama3.2").unwrap(),
            at,
            tokens: TokenCounts {
                input: 10,
                output: 1,
            },
            estimated: false,
            charge: Charge {
                nano_usd,
                api_key: "abc".into(),
                payers: payers.into(),
            },
            failed: false,
        }
    }

    fn sealed(records: &[UsageRecord]) -> SealedBatch {
        let mut sums = Aggregate::default();
        for record in records {
            sums.add(&Record::from(record));
        }
        sums.seal(BatchId {
            producer: Uuid::nil(),
            seq: 1,
        })
    }

    #[test]
    fn each_payer_is_charged_in_full_and_each_period_and_day_is_summed_by_itself() {
        let (midnight, team) = (86_400 * 20_000, payer(EntityKind::Team, "red", 7));
        let key = |period| payer(EntityKind::Key, "abc", period);
        let batch = sealed(&[
            record(midnight - 1, 5, vec![key(1), team.clone()]),
            record(midnight, 6, vec![key(2), team.clone()]),
            record(midnight + 1, 7, vec![key(2), team]),
        ]);
        let spend: Vec<_> = batch
            .spend
            .iter()
            .map(|row| (row.kind.as_str(), row.period, row.spent.nano_usd))
            .collect();
        assert_eq!(spend, [("key", 1, 5), ("key", 2, 13), ("team", 7, 18)]);
        let daily: Vec<_> = batch
            .daily
            .iter()
            .map(|row| (row.kind.as_str(), row.at - midnight, row.spent.nano_usd))
            .collect();
        let yesterday = -86_400;
        assert_eq!(
            daily,
            [
                ("key", yesterday, 5),
                ("key", 0, 13),
                ("team", yesterday, 5),
                ("team", 0, 13)
            ]
        );
        assert_eq!((batch.records, batch.oldest), (3, midnight - 1));
    }

    #[test]
    fn a_failed_request_is_seen_by_its_payers_and_makes_no_tokens() {
        let mut failed = record(60, 0, vec![payer(EntityKind::User, "ann", 0)]);
        failed.tokens = TokenCounts::ZERO;
        failed.failed = true;
        let batch = sealed(&[failed, record(61, 1, vec![])]);
        assert_eq!(batch.rows.len(), 1);
        assert_eq!(batch.spend[0].spent, SpendSums::default());
        assert_eq!(batch.daily[0].failed_requests, 1);
    }
}
