//! Three clocks, and what is known of their differences.
//!
//! The *local* one only ever goes forward and measures; the *wall* clock says which month it is; the
//! *ledger's* decides when a minute is over, for all routers alike. It is the clock of Redis, of
//! which each reply tells the time; without Redis it is the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The clocks of one router; clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// What to add to the local clock for the ledger's.
    offset_ms: AtomicI64,
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
            offset_ms: AtomicI64::new(unix_ms()),
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

    pub(super) fn ledger_ms(&self) -> i64 {
        self.local_ms() + self.0.offset_ms.load(Ordering::Relaxed)
    }

    /// At this moment of the local clock the ledger's said so.
    pub(super) fn learn(&self, local_ms: i64, ledger_ms: i64) {
        self.0
            .offset_ms
            .store(ledger_ms - local_ms, Ordering::Relaxed);
    }
}

impl Moment {
    /// Unix seconds.
    pub(super) fn unix(self) -> i64 {
        self.unix_ms.div_euclid(1_000)
    }
}

fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
