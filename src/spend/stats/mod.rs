//! What can be seen of the counting pipeline: single-writer atomics, read by whoever asks.
//!
//! Conservation: every record is pending, committed or dead-lettered. What is shown as pending is
//! computed from the others, so that the three always add up; and beside it the journal counts what
//! it owes, so that anyone can see that the sum is not only made to be right.

mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::audit::Account;
use super::stream::Depth;
use crate::cluster::lease;

/// A transaction on a local file takes about a millisecond, over a network ten; from one second on
/// it is late, and at five SQLite stops waiting for a lock.
const FLUSH_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// Counters and gauges of one [`super::Spend`].
#[derive(Debug)]
pub struct SpendStats {
    /// Who may write what all routers counted; `None` when this one writes for itself.
    lease: Option<lease::Handle>,
    /// Records written down, since the start of the process or found in its journal.
    pub(super) recorded: AtomicU64,
    /// Records known to be in the database.
    pub(super) committed: AtomicU64,
    /// Records of which something is in dead letters.
    pub(super) dead_lettered: AtomicU64,
    /// Records that could not be written down.
    pub(super) refused: AtomicU64,
    /// Records whose tokens or price nobody believes, written down as the most that is believed.
    pub(super) capped: AtomicU64,
    /// Records that the journal still has to bring to the database.
    pub(super) owed: AtomicU64,
    /// Batches not known to be in the database, the open one included.
    pub(super) batches: AtomicU64,
    /// Rows in these that belong to a minute or a day.
    pub(super) rows: AtomicU64,
    /// When the oldest pending record ended, in Unix seconds; [`i64::MAX`] when nothing is pending.
    pub(super) oldest: AtomicI64,
    pub(super) journal_bytes: AtomicU64,
    /// How large it may grow.
    pub(super) journal_limit: AtomicU64,
    pub(super) journal_errors: AtomicU64,
    pub(super) journal_healthy: AtomicBool,
    pub(super) flush_errors: AtomicU64,
    pub(super) flush_seconds: Histogram,
    /// Dead letters this router wrote.
    pub(super) dead_letters: AtomicU64,
    /// Batches that went past Redis.
    pub(super) diverted: AtomicU64,
    /// Batches that Redis had and lost.
    pub(super) resent: AtomicU64,
    pub(super) redis_errors: AtomicU64,
    /// The last append found no room.
    pub(super) redis_full: AtomicBool,
    /// Redis answered the last question how much waits.
    pub(super) redis_seen: AtomicBool,
    pub(super) redis_batches: AtomicU64,
    pub(super) redis_rows: AtomicU64,
    pub(super) redis_bytes: AtomicU64,
}

impl Default for SpendStats {
    fn default() -> Self {
        Self::new(None)
    }
}

impl SpendStats {
    /// Of a pipeline that writes while it has this lease, or whenever it likes.
    pub(super) fn new(lease: Option<lease::Handle>) -> Self {
        Self {
            lease,
            recorded: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            capped: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            oldest: AtomicI64::new(i64::MAX),
            journal_bytes: AtomicU64::new(0),
            journal_limit: AtomicU64::new(0),
            journal_errors: AtomicU64::new(0),
            journal_healthy: AtomicBool::new(true),
            flush_errors: AtomicU64::new(0),
            flush_seconds: Histogram::new(FLUSH_BUCKETS),
            dead_letters: AtomicU64::new(0),
            diverted: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            redis_errors: AtomicU64::new(0),
            redis_full: AtomicBool::new(false),
            redis_seen: AtomicBool::new(false),
            redis_batches: AtomicU64::new(0),
            redis_rows: AtomicU64::new(0),
            redis_bytes: AtomicU64::new(0),
        }
    }

    /// Records written down.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Relaxed)
    }

    /// Records in the database.
    pub fn committed(&self) -> u64 {
        self.committed.load(Relaxed)
    }

    /// Records on their way.
    pub fn pending(&self) -> u64 {
        // In this order: whatever is committed by now has been recorded before.
        let done = self.committed() + self.dead_lettered();
        self.recorded().saturating_sub(done)
    }

    /// The four at one moment, as the journal counts what it owes.
    pub fn account(&self) -> Account {
        // In this order: whatever is done by now has been recorded before.
        let look = || Account {
            committed: self.committed(),
            dead_lettered: self.dead_lettered(),
            pending: self.owed(),
            recorded: self.recorded(),
        };
        // They are not read in one moment; what is the same twice in a row was so in between.
        let mut before = look();
        for _ in 0..100 {
            let now = look();
            if now == before && now.holds() {
                break;
            }
            before = now;
            std::hint::spin_loop();
        }
        before
    }

    /// Records of which no database takes everything: the rest is in dead letters.
    pub fn dead_lettered(&self) -> u64 {
        self.dead_lettered.load(Relaxed)
    }

    /// Records whose request was told [`super::NotRecorded`].
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Records that the journal still has. Equal to [`Self::pending`], but for the moment between
    /// two changes.
    pub fn owed(&self) -> u64 {
        self.owed.load(Relaxed)
    }

    /// Batches on their way, the open one included.
    pub fn batches(&self) -> u64 {
        self.batches.load(Relaxed)
    }

    /// Rows on their way that belong to a minute or a day.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// How long ago the oldest record that is still on its way ended.
    pub fn oldest_age(&self) -> Duration {
        let oldest = self.oldest.load(Relaxed);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        Duration::from_secs(u64::try_from(now.saturating_sub(oldest)).unwrap_or(0))
    }

    /// Bytes of all journal segments on disk.
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Relaxed)
    }

    /// Whether the last write to the journal succeeded.
    pub fn journal_healthy(&self) -> bool {
        self.journal_healthy.load(Relaxed)
    }

    /// Whether the journal is more than four fifths full: the database has taken nothing for long.
    pub fn journal_crowded(&self) -> bool {
        let most = self.journal_limit.load(Relaxed);
        most > 0 && self.journal_bytes.load(Relaxed) > most / 5 * 4
    }

    /// Records whose tokens or price nobody believes.
    pub fn capped(&self) -> u64 {
        self.capped.load(Relaxed)
    }

    /// Calls to Redis that failed.
    pub fn redis_errors(&self) -> u64 {
        self.redis_errors.load(Relaxed)
    }

    /// Failed transactions.
    pub fn flush_errors(&self) -> u64 {
        self.flush_errors.load(Relaxed)
    }

    /// Whether this router writes to the database what all routers counted.
    pub fn leads(&self) -> bool {
        self.lease
            .as_ref()
            .is_none_or(|lease| lease.tenure().is_some())
    }

    /// What waits in Redis, when it was last asked.
    pub fn redis(&self) -> Depth {
        Depth {
            batches: self.redis_batches.load(Relaxed),
            rows: self.redis_rows.load(Relaxed),
            bytes: self.redis_bytes.load(Relaxed),
        }
    }

    /// What Redis said just now about what waits in it; `None`: nothing.
    pub(super) fn saw(&self, depth: Option<Depth>) {
        if let Some(depth) = depth {
            self.redis_batches.store(depth.batches, Relaxed);
            self.redis_rows.store(depth.rows, Relaxed);
            self.redis_bytes.store(depth.bytes, Relaxed);
        }
        self.redis_seen.store(depth.is_some(), Relaxed);
    }

    /// Whether Redis answered when it was last asked how much waits in it.
    pub fn redis_up(&self) -> bool {
        self.redis_seen.load(Relaxed)
    }

    /// Batches that Redis had and lost, and that were sent again.
    pub fn resent(&self) -> u64 {
        self.resent.load(Relaxed)
    }

    /// Batches that went past Redis, straight to the database.
    pub fn diverted(&self) -> u64 {
        self.diverted.load(Relaxed)
    }

    /// Dead letters this router wrote.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Relaxed)
    }

    /// Whether the stream in Redis had no room for the last batch.
    pub fn redis_full(&self) -> bool {
        self.redis_full.load(Relaxed)
    }

    /// Puts all of it into `registry`, whose prefix it takes.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        metrics::register(self, registry);
    }

    /// Puts only the gauges that LiteLLM has too into `registry`, whose prefix they take.
    pub fn register_queues(self: &Arc<Self>, registry: &mut Registry) {
        metrics::register_queues(self, registry);
    }
}
