//! Three clocks, and what is known of their differences.
//!
//! The *local* one only ever goes forward and measures; the *wall* clock says which month it is; the
//! *ledger's* decides when a minute is over, for all routers alike. It is the clock of Redis, of
//! which each reply tells the time; without Redis it is the wall clock. It is remembered as a
//! difference to the wall clock and not to the local one, which may stand still while the machine
//! is suspended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;

use crate::clock::unix_ms;

/// The clocks of one router; clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// What to add to the wall clock for the ledger's.
    skew_ms: AtomicI64,
}

/// One moment, by the clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Milliseconds since this router's start.
    pub(super) local_ms: i64,
    /// Unix milliseconds.
    pub(super) unix_ms: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            skew_ms: AtomicI64::new(0),
        }))
    }

    pub(super) fn local_ms(&self) -> i64 {
        i64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub(super) fn now(&self) -> Moment {
        Moment {
            local_ms: self.local_ms(),
            unix_ms: unix_ms(),
        }
    }

    /// What the ledger's clock says at this moment, as far as that is known.
    pub(super) fn ledger_ms(&self, now: Moment) -> i64 {
        now.unix_ms
            .saturating_add(self.0.skew_ms.load(Ordering::Relaxed))
    }

    /// At this moment the ledger's clock said so.
    pub(super) fn learn(&self, now: Moment, ledger_ms: i64) {
        self.0
            .skew_ms
            .store(ledger_ms - now.unix_ms, Ordering::Relaxed);
    }
}

impl Moment {
    /// Unix seconds.
    pub(super) fn unix(self) -> i64 {
        self.unix_ms.div_euclid(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(local_ms: i64, unix_ms: i64) -> Moment {
        Moment { local_ms, unix_ms }
    }

    #[test]
    fn after_a_suspension_the_ledgers_clock_is_the_present_one() {
        let day = 86_400_000;
        let clock = Clock::new();
        assert_eq!(clock.ledger_ms(at(0, day)), day);
        // The local clock stood still meanwhile.
        assert_eq!(clock.ledger_ms(at(1, 2 * day)), 2 * day);
        // With a ledger that is two seconds behind, it stays so until it says otherwise.
        clock.learn(at(1, 2 * day), 2 * day - 2_000);
        assert_eq!(clock.ledger_ms(at(2, 3 * day)), 3 * day - 2_000);
        clock.learn(at(3, 3 * day), 3 * day);
        assert_eq!(clock.ledger_ms(at(3, 3 * day)), 3 * day);
    }
}
