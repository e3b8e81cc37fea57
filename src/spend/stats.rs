//! What can be seen of the counting pipeline: single-writer atomics, read by whoever asks.
//!
//! Conservation: every record is pending, committed or dead-lettered, and the pending ones are not
//! counted but computed from the others, so that the three always add up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// A transaction on a local file takes about a millisecond, over a network ten; from one second on
/// it is late, and at five SQLite stops waiting for a lock.
const FLUSH_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// Counters and gauges of one [`super::Spend`].
#[derive(Debug)]
pub struct SpendStats {
    /// Records written down, since the start of the process or found in its journal.
    pub(super) recorded: AtomicU64,
    /// Records known to be in the database.
    pub(super) committed: AtomicU64,
    /// Records that could not be written down.
    pub(super) refused: AtomicU64,
    /// Batches not known to be in the database, the open one included.
    pub(super) batches: AtomicU64,
    /// Rows in these.
    pub(super) rows: AtomicU64,
    /// When the oldest pending record ended, in Unix seconds; [`i64::MAX`] when nothing is pending.
    pub(super) oldest: AtomicI64,
    pub(super) journal_bytes: AtomicU64,
    pub(super) journal_errors: AtomicU64,
    pub(super) journal_healthy: AtomicBool,
    pub(super) flush_errors: AtomicU64,
    pub(super) flush_seconds: Histogram,
}

impl Default for SpendStats {
    fn default() -> Self {
        Self {
            recorded: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            oldest: AtomicI64::new(i64::MAX),
            journal_bytes: AtomicU64::new(0),
            journal_errors: AtomicU64::new(0),
            journal_healthy: AtomicBool::new(true),
            flush_errors: AtomicU64::new(0),
            flush_seconds: Histogram::new(FLUSH_BUCKETS),
        }
    }
}

impl SpendStats {
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

    /// Records no database will take. Nothing is ever given up yet.
    pub fn dead_lettered(&self) -> u64 {
        0
    }

    /// Records whose request was told [`super::NotRecorded`].
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
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

    /// Failed transactions.
    pub fn flush_errors(&self) -> u64 {
        self.flush_errors.load(Relaxed)
    }

    /// Puts all of it into `registry`, whose prefix it takes.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register(
            "spend_flush_seconds",
            "Seconds one transaction took, failed ones included",
            self.flush_seconds.clone(),
        );
        self.register_queues(registry);
        registry.register_collector(Box::new(Arc::clone(self)));
    }

    /// Puts only the gauges that LiteLLM has too into `registry`, whose prefix they take.
    pub fn register_queues(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Queues(Arc::clone(self))));
    }

    /// The five that LiteLLM has too.
    fn queues(&self) -> [(&'static str, &'static str, u64); 5] {
        [
            (
                "pod_lock_manager_size",
                "1 where the database is written to",
                1,
            ),
            (
                "in_memory_spend_update_queue_size",
                "Batches that are not in the database yet",
                self.batches(),
            ),
            (
                "in_memory_daily_spend_update_queue_size",
                "Rows of minutes and days that are not in the database yet",
                self.rows(),
            ),
            (
                "redis_spend_update_queue_size",
                "Batches waiting in Redis",
                0,
            ),
            (
                "redis_daily_spend_update_queue_size",
                "Rows of minutes and days waiting in Redis",
                0,
            ),
        ]
    }

    fn gauges(&self) -> [(&'static str, &'static str, u64); 4] {
        [
            (
                "spend_oldest_unflushed_seconds",
                "Age of the oldest record that is not in the database yet",
                self.oldest_age().as_secs(),
            ),
            (
                "spend_journal_bytes",
                "Bytes of usage journal on disk",
                self.journal_bytes(),
            ),
            (
                "spend_journal_healthy",
                "0 while the usage journal cannot be written",
                self.journal_healthy().into(),
            ),
            (
                "spend_records_pending_total",
                "Records written down and not in the database yet",
                self.pending(),
            ),
        ]
    }

    fn counters(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            (
                "spend_records_recorded",
                "Usage records written down",
                self.recorded(),
            ),
            (
                "spend_records_committed",
                "Usage records in the database",
                self.committed(),
            ),
            (
                "spend_records_dead_lettered",
                "Usage records set aside because the database will never take them",
                self.dead_lettered(),
            ),
            (
                "spend_records_refused",
                "Usage records that could not be written down",
                self.refused(),
            ),
            (
                "spend_journal_errors",
                "Failed writes and syncs of the usage journal",
                self.journal_errors.load(Relaxed),
            ),
            (
                "spend_flush_errors",
                "Transactions that failed and were tried again",
                self.flush_errors(),
            ),
        ]
    }
}

/// The queue gauges alone, for a second set of names.
#[derive(Debug)]
struct Queues(Arc<SpendStats>);

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode_gauges(&mut encoder, &self.0.queues())
    }
}

fn encode_gauges(
    encoder: &mut DescriptorEncoder<'_>,
    gauges: &[(&'static str, &'static str, u64)],
) -> Result<(), std::fmt::Error> {
    for &(name, help, value) in gauges {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let into = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(into)?;
    }
    Ok(())
}

impl Collector for SpendStats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode_gauges(&mut encoder, &self.gauges())?;
        for (name, help, value) in self.counters() {
            let counter = ConstCounter::new(value);
            let into = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(into)?;
        }
        Ok(())
    }
}
