//! What can be seen of the counting pipeline: read by whoever asks, each part written by one.
//!
//! Conservation: every record is pending, committed or dead-lettered. What is shown as pending is
//! computed from the others, so that the three always add up; and beside it the journal counts what
//! is pending in it, so that the two can be compared. All of them are of one
//! moment ([`snapshot`]).

mod metrics;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use uuid::Uuid;

use super::audit::Account;
use super::stream::Depth;
use crate::clock;
use crate::cluster::lease;

pub(super) use snapshot::JournalSnapshot;

/// A transaction on a local file takes about a millisecond, over a network ten; from one second on
/// it is late, and at five SQLite stops waiting for a lock.
const FLUSH_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// Counters and gauges of one [`super::Spend`].
#[derive(Debug)]
pub struct SpendStats {
    /// Who may write what all routers counted; `None` when this one writes for itself.
    lease: Option<lease::Handle>,
    /// The newest snapshot of the journal.
    pub(super) snapshot: ArcSwap<JournalSnapshot>,
    /// Records that could not be written down.
    pub(super) refused: AtomicU64,
    /// Records whose request did not wait any longer for Redis or the database.
    pub(super) on_disk_only: AtomicU64,
    /// Records whose tokens or price are implausible, written down as the largest plausible amount.
    pub(super) capped: AtomicU64,
    /// How large the journal may grow.
    pub(super) journal_limit: AtomicU64,
    pub(super) journal_errors: AtomicU64,
    pub(super) flush_errors: AtomicU64,
    pub(super) flush_seconds: Histogram,
    /// Dead letters this router wrote.
    pub(super) dead_letters: AtomicU64,
    /// Batches that bypassed Redis.
    pub(super) diverted: AtomicU64,
    /// Batches that Redis had and lost.
    pub(super) resent: AtomicU64,
    pub(super) redis_errors: AtomicU64,
    /// The last append found no room, and there is still little.
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
    /// Of a pipeline that writes while it has this lease, or always.
    pub(super) fn new(lease: Option<lease::Handle>) -> Self {
        Self {
            lease,
            snapshot: ArcSwap::from_pointee(JournalSnapshot::nothing()),
            refused: AtomicU64::new(0),
            on_disk_only: AtomicU64::new(0),
            capped: AtomicU64::new(0),
            journal_limit: AtomicU64::new(0),
            journal_errors: AtomicU64::new(0),
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
        self.account().recorded
    }

    /// Records in the database.
    pub fn committed(&self) -> u64 {
        self.account().committed
    }

    /// Records on their way.
    pub fn pending(&self) -> u64 {
        let account = self.account();
        let done = account.committed + account.dead_lettered;
        account.recorded.saturating_sub(done)
    }

    /// The four at one moment, with what is pending as the journal counts it.
    pub fn account(&self) -> Account {
        self.snapshot.load().all
    }

    /// The same of this run alone, and who it is as a producer.
    pub fn own(&self) -> (Uuid, Account) {
        let snapshot = self.snapshot.load();
        (snapshot.producer, snapshot.own)
    }

    /// Records of which no database takes everything: the rest is in dead letters.
    pub fn dead_lettered(&self) -> u64 {
        self.account().dead_lettered
    }

    /// Records whose request was told [`super::NotRecorded`].
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Records that were to be in Redis or the database before their answer ended, which did not wait
    /// any longer: only the journal had them.
    pub fn on_disk_only(&self) -> u64 {
        self.on_disk_only.load(Relaxed)
    }

    /// Records that the journal still has: as many as [`Self::pending`].
    pub fn pending_in_journal(&self) -> u64 {
        self.account().pending
    }

    /// Batches on their way, the open one included.
    pub fn batches(&self) -> u64 {
        self.snapshot.load().batches
    }

    /// Rows on their way that belong to a minute or a day.
    pub fn rows(&self) -> u64 {
        self.snapshot.load().rows
    }

    /// How long ago the oldest record that is still on its way ended.
    pub fn oldest_age(&self) -> Duration {
        let oldest = self.snapshot.load().oldest.unwrap_or(i64::MAX);
        let age = clock::unix_seconds().saturating_sub(oldest);
        Duration::from_secs(u64::try_from(age).unwrap_or(0))
    }

    /// Bytes of all journal segments on disk.
    pub fn journal_bytes(&self) -> u64 {
        self.snapshot.load().bytes
    }

    /// Whether the journal can be written, and has room.
    pub fn journal_healthy(&self) -> bool {
        self.snapshot.load().healthy
    }

    /// Whether the journal is more than four fifths full: the database has taken nothing for long.
    pub fn journal_crowded(&self) -> bool {
        let most = self.journal_limit.load(Relaxed);
        most > 0 && self.journal_bytes() > most / 5 * 4
    }

    /// Records whose tokens or price are implausible.
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
            .is_none_or(|lease| lease.leadership().is_some())
    }

    /// What waits in Redis, when it was last asked.
    pub fn redis(&self) -> Depth {
        Depth {
            batches: self.redis_batches.load(Relaxed),
            rows: self.redis_rows.load(Relaxed),
            bytes: self.redis_bytes.load(Relaxed),
            crowded: self.redis_full(),
        }
    }

    /// What Redis just answered about what waits in it; `None`: no answer.
    pub(super) fn saw(&self, depth: Option<Depth>) {
        if let Some(depth) = depth {
            self.redis_batches.store(depth.batches, Relaxed);
            self.redis_rows.store(depth.rows, Relaxed);
            self.redis_bytes.store(depth.bytes, Relaxed);
            if !depth.crowded {
                self.redis_full.store(false, Relaxed);
            }
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

    /// Batches that bypassed Redis, straight to the database.
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
