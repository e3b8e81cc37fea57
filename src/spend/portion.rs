//! How much goes into one transaction. Pure.
//!
//! By rows, since that is what a transaction costs: two hundred batches may be two hundred rows or
//! millions. A database that does not manage a portion within its bounds is given a smaller one, and
//! more again, carefully, as it keeps up: it would otherwise be handed the same for ever.

use std::sync::Arc;

use crate::store::SealedBatch;

/// A second of work for a small server.
const MOST: usize = 50_000;
/// Whoever does not manage this has other troubles.
const LEAST: usize = 1_000;
/// Batches: each has a row of its own, too.
const MOST_BATCHES: usize = 1_024;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion(usize);

impl Default for Portion {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Portion {
    /// It was too much, or the database was away.
    pub(super) fn failed(&mut self) {
        self.0 = (self.0 / 2).max(LEAST);
    }

    /// It was not.
    pub(super) fn managed(&mut self) {
        self.0 = (self.0 + self.0 / 4).min(MOST);
    }

    /// How many of `batches`, from the first on, go together: at least one.
    pub(super) fn of<'a>(self, batches: impl IntoIterator<Item = &'a Arc<SealedBatch>>) -> usize {
        let mut rows = 0_usize;
        let fits = |batch: &&Arc<SealedBatch>| {
            let first = rows == 0;
            // One for its id.
            rows = rows.saturating_add(batch.row_count() + 1);
            first || rows <= self.0
        };
        batches
            .into_iter()
            .take(MOST_BATCHES)
            .take_while(fits)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::TokenCounts;
    use crate::store::{BatchId, BatchRow};

    fn batch(rows: usize) -> Arc<SealedBatch> {
        let row = BatchRow {
            endpoint: "a".into(),
            model: "m".into(),
            minute: 0,
            tokens: TokenCounts::ZERO,
        };
        let id = BatchId {
            producer: Uuid::nil(),
            seq: 1,
        };
        Arc::new(SealedBatch {
            rows: vec![row; rows],
            ..SealedBatch::empty(id)
        })
    }

    #[test]
    fn it_is_bounded_by_rows_and_by_batches_and_is_never_nothing() {
        let portion = Portion::default();
        assert_eq!(portion.of(&[]), 0);
        let large = vec![batch(20_000); 5];
        assert_eq!(portion.of(&large), 2);
        assert_eq!(portion.of(&vec![batch(60_000); 2]), 1);
        assert_eq!(portion.of(&vec![batch(0); 2_000]), MOST_BATCHES);
    }

    #[test]
    fn it_halves_when_it_is_too_much_and_grows_while_it_is_not() {
        let mut portion = Portion::default();
        for _ in 0..20 {
            portion.failed();
        }
        assert_eq!(portion, Portion(LEAST));
        let mut times = 0;
        while portion != Portion::default() {
            portion.managed();
            times += 1;
        }
        assert!((10..30).contains(&times), "{times}");
    }
}
