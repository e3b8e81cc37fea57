//! How a batch ended: in the database, all of it or all but what no database will take.

use crate::store::BatchId;

/// A batch that need not be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) id: BatchId,
    /// How many of its records are, at least in part, in dead letters.
    pub(super) dead: u64,
}

impl Settlement {
    /// Nothing of it was set aside.
    pub(super) fn whole(id: BatchId) -> Self {
        Self { id, dead: 0 }
    }
}
