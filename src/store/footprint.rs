//! How many rows a transaction will write, before it does. Pure.
//!
//! A row that several batches add to is written once. Keys are remembered by their hash: of a
//! million, two may share one now and then, and the count is then one too small, which is no harm to
//! a bound.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

use super::batch::SealedBatch;

/// The rows that some batches write together.
#[derive(Debug, Default)]
pub struct Footprint {
    keys: HashSet<u64>,
    hashes: RandomState,
    batches: usize,
}

impl Footprint {
    /// As if `batch` were written with the others.
    pub fn add(&mut self, batch: &SealedBatch) {
        // Each batch has a row of its own, in the list of those that were applied.
        self.batches += 1;
        for row in &batch.rows {
            self.key(("token_counts", &row.endpoint, &row.model));
            self.key(("token_time_series", &row.endpoint, &row.model, row.minute));
        }
        for row in &batch.spend {
            self.key(("spend", row.kind, &row.entity));
            if row.period != 0 {
                self.key(("spend_periods", row.kind, &row.entity, row.period));
            }
        }
        for row in &batch.daily {
            let day = row.at.div_euclid(86_400);
            let place = (&row.api_key, &row.model, &row.endpoint);
            self.key(("daily_spend", row.kind, &row.entity, day, place));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches + self.keys.len()
    }

    fn key(&mut self, key: impl Hash) {
        self.keys.insert(self.hashes.hash_one(key));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{EntityKind, TokenCounts};
    use crate::store::{BatchId, BatchRow, DailyRow, SpendRow, SpendSums};

    fn batch(seq: u64, entity: &str, period: i64) -> SealedBatch {
        let (kind, spent) = (EntityKind::Key, SpendSums::default());
        SealedBatch {
            rows: vec![BatchRow {
                endpoint: "gpu-1".into(),
                model: "m".into(),
                minute: 60,
                tokens: TokenCounts::ZERO,
            }],
            spend: vec![SpendRow {
                kind,
                entity: entity.into(),
                period,
                spent,
            }],
            daily: vec![DailyRow {
                kind,
                entity: entity.into(),
                at: 61,
                api_key: entity.into(),
                model: "m".into(),
                endpoint: "gpu-1".into(),
                spent,
                failed_requests: 0,
            }],
            ..SealedBatch::empty(BatchId {
                producer: Uuid::nil(),
                seq,
            })
        }
    }

    #[test]
    fn a_row_that_several_batches_add_to_is_counted_once() {
        let mut rows = Footprint::default();
        rows.add(&batch(1, "a", 0));
        assert_eq!(
            rows.rows(),
            5,
            "its id, two of tokens, one of spend, one day"
        );
        rows.add(&batch(2, "a", 0));
        assert_eq!(rows.rows(), 6, "another id");
        rows.add(&batch(3, "b", 0));
        assert_eq!(rows.rows(), 9, "an id, its spend and its day");
        rows.add(&batch(4, "b", 7));
        assert_eq!(rows.rows(), 11, "an id and a period");
    }
}
