//! So many failures in a row.
//!
//! Finds a failed database after a handful of commands, however few there are; the window rule needs
//! a rate to speak of.

use tokio::time::Instant;

use super::FailureDetector;
use crate::outcome::FailureKind;

/// So many failures with no success in between.
#[derive(Clone, Debug)]
pub struct ConsecutiveFailureDetector {
    limit: u32,
    row: u32,
}

impl ConsecutiveFailureDetector {
    /// `limit` failures, at least one.
    pub fn new(limit: u32) -> Self {
        Self {
            limit: limit.max(1),
            row: 0,
        }
    }
}

impl FailureDetector for ConsecutiveFailureDetector {
    fn fresh(&self) -> Box<dyn FailureDetector> {
        Box::new(Self::new(self.limit))
    }

    fn succeeded(&mut self, count: u64, _now: Instant) {
        if count > 0 {
            self.row = 0;
        }
    }

    fn failed(&mut self, _kind: FailureKind, _now: Instant) -> bool {
        self.row = self.row.saturating_add(1);
        self.row >= self.limit
    }

    fn reset(&mut self) {
        self.row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_in_between_begins_the_row_anew() {
        let now = Instant::now();
        let mut detector = ConsecutiveFailureDetector::new(3);
        let fail = |detector: &mut dyn FailureDetector| detector.failed(FailureKind::Timeout, now);
        assert!(!fail(&mut detector) && !fail(&mut detector));
        detector.succeeded(0, now);
        assert!(fail(&mut detector), "no success is no success");
        detector.succeeded(1, now);
        assert!(!fail(&mut detector) && !fail(&mut detector) && fail(&mut detector));
        assert!(
            !fail(&mut *detector.fresh()),
            "a fresh one has seen nothing"
        );
    }
}
