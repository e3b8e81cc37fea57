//! Whether an answer could be counted, before a server works for it.
//!
//! While the journal cannot be written (a full disk), answers would be withheld at their end and
//! the servers' work lost. So requests are refused before they are admitted, but for one a second, whose record
//! shows whether the disk can be written again.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::spend::Spend;

#[derive(Debug)]
pub(super) struct JournalGate {
    start: Instant,
    /// The second of the last trial.
    trial: AtomicU64,
}

impl JournalGate {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            trial: AtomicU64::new(0),
        }
    }

    pub(super) fn admits(&self, spend: &Spend, now: Instant) -> bool {
        spend.journal_healthy() || self.is_trial(now)
    }

    fn is_trial(&self, now: Instant) -> bool {
        // From one on, so that the first second has its trial too.
        let second = now.saturating_duration_since(self.start).as_secs() + 1;
        self.trial.fetch_max(second, Ordering::Relaxed) < second
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_request_a_second_tests_whether_the_disk_can_be_written() {
        let start = Instant::now();
        let gate = JournalGate::new(start);
        let trials = [0, 1, 999, 1000, 1500, 3000]
            .map(|at| gate.is_trial(start + Duration::from_millis(at)));
        assert_eq!(trials, [true, false, false, true, false, true]);
    }
}
