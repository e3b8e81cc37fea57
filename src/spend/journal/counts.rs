//! How many records there were, and what has become of them, by the run that recorded them. Pure.
//!
//! What is pending is not computed here: the ledger counts it, so that the two can be compared.

use super::ledger::Settled;
use crate::spend::Account;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    own: Account,
    /// Of former processes.
    found: Account,
}

impl Counts {
    /// So many were found.
    pub(super) fn after(found: u64) -> Self {
        let mut counts = Self::default();
        counts.found.recorded = found;
        counts
    }

    /// So many are written down.
    pub(super) fn recorded(&mut self, records: u64) {
        self.own.recorded += records;
    }

    /// A batch is not pending any more; so many of its records are, at least in part, in dead letters.
    pub(super) fn settled(&mut self, settled: Settled, dead: u64) {
        let whose = if settled.found {
            &mut self.found
        } else {
            &mut self.own
        };
        let dead = dead.saturating_add(settled.lost).min(settled.records);
        whose.dead_lettered += dead;
        whose.committed += settled.records - dead;
    }

    /// All of them, and our own, when so many are pending.
    pub(super) fn accounts(&self, own_pending: u64, found_pending: u64) -> [Account; 2] {
        let own = Account {
            pending: own_pending,
            ..self.own
        };
        let all = Account {
            recorded: own.recorded + self.found.recorded,
            committed: own.committed + self.found.committed,
            dead_lettered: own.dead_lettered + self.found.dead_lettered,
            pending: own_pending + found_pending,
        };
        [all, own]
    }
}
