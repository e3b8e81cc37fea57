//! What is counted per database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::multidb::metrics::Counter;
use crate::multidb::outcome::FailureKind;

/// The counters of one database. Commands raise `successes`, and nothing else when all is well.
#[derive(Debug, Default)]
pub(in crate::multidb) struct Stats {
    pub(in crate::multidb) successes: Counter,
    failures: [Counter; FailureKind::ALL.len()],
    pub(in crate::multidb) connects: Counter,
    pub(in crate::multidb) connect_failures: Counter,
    pub(in crate::multidb) healthy_rounds: Counter,
    pub(in crate::multidb) unhealthy_rounds: Counter,
    /// Microseconds of the last healthy answer to a check.
    answered_in: AtomicU64,
}

impl Stats {
    pub(in crate::multidb) fn failed(&self, kind: FailureKind) {
        self.failures[kind as usize].add_one();
    }

    pub(in crate::multidb) fn failures(&self) -> Vec<(FailureKind, u64)> {
        FailureKind::ALL
            .iter()
            .map(|kind| (*kind, self.failures[*kind as usize].get()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    pub(in crate::multidb) fn answered_in(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.answered_in.store(micros, Ordering::Relaxed);
    }

    /// How long it last took to answer when it was well.
    pub(in crate::multidb) fn usual_answer(&self) -> Duration {
        Duration::from_micros(self.answered_in.load(Ordering::Relaxed))
    }
}
