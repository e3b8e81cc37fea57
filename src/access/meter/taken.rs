//! What a request holds of one meter until it is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Cell, Share, What};

/// The part of a reservation that is of one meter; dropping it gives it back whole.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Taken {
    cell: Arc<Cell>,
    share: Arc<Share>,
    reserved: i64,
    settled: bool,
}

impl Taken {
    pub(in crate::access) fn new(cell: Arc<Cell>, share: Arc<Share>, reserved: i64) -> Self {
        Self {
            cell,
            share,
            reserved,
            settled: false,
        }
    }

    /// How much.
    #[cfg(test)]
    pub(in crate::access) fn reserved(&self) -> i64 {
        self.reserved
    }

    /// The limit it is of.
    #[must_use]
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// The request is over and used so much. In a window that has begun meanwhile, money counts
    /// there, since that is where the record goes; of tokens only what was not reserved does, since
    /// the rest has counted already.
    pub fn settle(mut self, used: i64, now_ms: i64) {
        self.settled = true;
        let current = !self.share.is_over(now_ms)
            && self
                .cell
                .share
                .load()
                .as_ref()
                .is_some_and(|share| Arc::ptr_eq(share, &self.share));
        let elsewhere = match self.cell.what {
            _ if current => 0,
            What::Requests | What::Parallel => 0,
            What::Tokens => (used - self.reserved).max(0),
            What::Money { .. } => used,
        };
        self.share.settle(self.reserved, used - elsewhere);
        if elsewhere > 0 {
            self.cell.debt.fetch_add(elsewhere, Ordering::AcqRel);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.settled {
            self.share.settle(self.reserved, 0);
        }
    }
}
