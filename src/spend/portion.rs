//! How much goes into one transaction. Pure.
//!
//! By the rows it writes, since that is what a transaction costs the database: a hundred batches in
//! which the same thousand accounts spent something are a thousand rows, not a hundred thousand. So
//! the further the writer is behind, the more of what waits becomes one row, and the less each
//! record costs: that is how it catches up. A database that does not finish a portion in time is
//! given a smaller one, and gradually more again as it keeps up: it would otherwise be given the same
//! for ever.

use std::sync::Arc;

use crate::store::{Footprint, SealedBatch, offload};

/// A second or two of work for a small server.
const MOST: usize = 100_000;
/// A database that fails at this has other problems.
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
    pub(super) fn succeeded(&mut self) {
        self.0 = (self.0 + self.0 / 4).min(MOST);
    }

    /// How many of `batches`, from the first on, go together: at least one.
    pub(super) fn of<'a>(
        self,
        batches: impl IntoIterator<Item = &'a Arc<SealedBatch>, IntoIter: Clone>,
    ) -> usize {
        let batches = batches.into_iter().take(MOST_BATCHES);
        let rows = batches.clone().map(|batch| batch.row_count()).sum();
        let mut written = Footprint::default();
        let fits = |batch: &&Arc<SealedBatch>| {
            let first = written.rows() == 0;
            written.add(batch);
            first || written.rows() <= self.0
        };
        offload(rows, || batches.take_while(fits).count())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::EntityKind;
    use crate::store::{BatchId, SpendRow, SpendSums};

    /// So many rows, from the first of them on.
    fn batch(first: usize, rows: usize) -> Arc<SealedBatch> {
        let row = |number| SpendRow {
            kind: EntityKind::Key,
            entity: format!("{number}").into(),
            period: 0,
            spent: SpendSums::default(),
        };
        let id = BatchId {
            producer: Uuid::nil(),
            seq: 1,
        };
        Arc::new(SealedBatch {
            spend: (first..first + rows).map(row).collect(),
            ..SealedBatch::empty(id)
        })
    }

    #[test]
    fn it_is_bounded_by_rows_and_by_batches_and_is_never_nothing() {
        let portion = Portion::default();
        assert_eq!(portion.of(&[]), 0);
        let different: Vec<_> = (0..5).map(|n| batch(n * 40_000, 40_000)).collect();
        assert_eq!(portion.of(&different), 2);
        assert_eq!(portion.of(&[batch(0, 120_000), batch(0, 1)]), 1);
        assert_eq!(portion.of(&vec![batch(0, 0); 2_000]), MOST_BATCHES);
    }

    #[test]
    fn what_adds_to_the_same_rows_goes_together_however_much_it_is() {
        let same = vec![batch(0, 1_000); 500];
        assert_eq!(Portion::default().of(&same), 500);
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
            portion.succeeded();
            times += 1;
        }
        assert!((10..30).contains(&times), "{times}");
    }
}
