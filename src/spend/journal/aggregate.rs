//! A batch while it grows: sums by endpoint, model and minute. Pure.
//!
//! Adding costs two hash lookups and no allocation once a pair is known. Its size is bounded by
//! pairs × minutes, however many requests there are, which is what lets a batch stay open while the
//! database is away.

use std::collections::HashMap;
use std::sync::Arc;

use super::payload::Record;
use crate::domain::TokenCounts;
use crate::store::{BatchId, BatchRow, SealedBatch};

/// Minutes are few and the current one is asked for: a list, searched from its end.
type Minutes = Vec<(i64, TokenCounts)>;

/// Sums of records.
#[derive(Debug, Default)]
pub(super) struct Aggregate {
    endpoints: HashMap<Arc<str>, HashMap<Arc<str>, Minutes>>,
    rows: u64,
    records: u64,
    oldest: i64,
}

impl Aggregate {
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let minute = record.at.div_euclid(60) * 60;
        let tokens = record.tokens();
        self.oldest = match self.records {
            0 => record.at,
            _ => self.oldest.min(record.at),
        };
        self.records += 1;
        let models = entry(&mut self.endpoints, &record.endpoint);
        let minutes = entry(models, &record.model);
        match minutes.iter_mut().rev().find(|(at, _)| *at == minute) {
            Some((_, sum)) => *sum += tokens,
            None => {
                minutes.push((minute, tokens));
                self.rows += 1;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// When the oldest record in it ended, in Unix seconds.
    pub(super) fn oldest(&self) -> Option<i64> {
        (!self.is_empty()).then_some(self.oldest)
    }

    /// Closes it under its name.
    pub(super) fn seal(self, id: BatchId) -> SealedBatch {
        let mut rows: Vec<BatchRow> = self
            .endpoints
            .into_iter()
            .flat_map(|(endpoint, models)| {
                models.into_iter().flat_map(move |(model, minutes)| {
                    let endpoint = Arc::clone(&endpoint);
                    minutes.into_iter().map(move |(minute, tokens)| BatchRow {
                        endpoint: Arc::clone(&endpoint),
                        model: Arc::clone(&model),
                        minute,
                        tokens,
                    })
                })
            })
            .collect();
        rows.sort_unstable_by(|a, b| {
            (&a.endpoint, &a.model, a.minute).cmp(&(&b.endpoint, &b.model, b.minute))
        });
        SealedBatch {
            rows,
            records: self.records,
            oldest: self.oldest,
            ..SealedBatch::empty(id)
        }
    }
}

/// `entry` of a borrowed key, which allocates the key only when it is new.
fn entry<'a, V: Default>(map: &'a mut HashMap<Arc<str>, V>, key: &str) -> &'a mut V {
    if !map.contains_key(key) {
        map.insert(key.into(), V::default());
    }
    map.get_mut(key)
        .expect("it was put there, if it was not there")
}
