//! What is counted per database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::Counter;
use crate::outcome::FailureKind;

/// The least time to answer: a delay of the scheduler is no outage.
const MIN_TIMEOUT: Duration = Duration::from_millis(50);

/// So many times the usual.
const LATENCY_FACTOR: u32 = 4;

/// The counters of one database. Commands raise `successes`, and nothing else while there are no failures.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) successes: Counter,
    failures: [Counter; FailureKind::ALL.len()],
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) healthy_rounds: Counter,
    pub(crate) unhealthy_rounds: Counter,
    /// Microseconds of the last healthy answer to a check.
    answered_in: AtomicU64,
}

impl Stats {
    pub(crate) fn failed(&self, kind: FailureKind) {
        self.failures[kind as usize].add_one();
    }

    pub(crate) fn failures(&self) -> Vec<(FailureKind, u64)> {
        FailureKind::ALL
            .iter()
            .map(|kind| (*kind, self.failures[*kind as usize].get()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    pub(crate) fn answered_in(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.answered_in.store(micros, Ordering::Relaxed);
    }

    /// So much time to answer as shows that it is there, of `most` that a command has: a few times
    /// what it last took when it was healthy.
    pub(crate) fn short_timeout(&self, most: Duration) -> Duration {
        let usual = Duration::from_micros(self.answered_in.load(Ordering::Relaxed));
        usual
            .saturating_mul(LATENCY_FACTOR)
            .max(MIN_TIMEOUT)
            .min(most.max(MIN_TIMEOUT))
    }
}
