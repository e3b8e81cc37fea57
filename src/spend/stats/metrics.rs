//! The counters and gauges as Prometheus sees them: computed when it asks, so that none is stale.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::SpendStats;
use crate::spend::Account;

/// Name, help, value.
type Metric = (&'static str, &'static str, u64);

pub(super) fn register(stats: &Arc<SpendStats>, registry: &mut Registry) {
    registry.register(
        "spend_flush_seconds",
        "Seconds one transaction took, failed ones included",
        stats.flush_seconds.clone(),
    );
    register_queues(stats, registry);
    registry.register_collector(Box::new(All(Arc::clone(stats))));
}

pub(super) fn register_queues(stats: &Arc<SpendStats>, registry: &mut Registry) {
    registry.register_collector(Box::new(Queues(Arc::clone(stats))));
}

/// Everything but the queues.
#[derive(Debug)]
struct All(Arc<SpendStats>);

/// The queue gauges alone, for a second set of names.
#[derive(Debug)]
struct Queues(Arc<SpendStats>);

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        gauges(&mut encoder, &queues(&self.0))
    }
}

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // One read for all of them, so that what is scraped together adds up.
        let account = self.0.account();
        gauges(&mut encoder, &state(&self.0, account))?;
        counters(&mut encoder, &totals(&self.0, account))?;
        if self.0.lease.is_some() {
            gauges(&mut encoder, &redis_state(&self.0))?;
            counters(&mut encoder, &redis_totals(&self.0))?;
        }
        Ok(())
    }
}

/// The five that LiteLLM has too.
fn queues(stats: &SpendStats) -> [Metric; 5] {
    [
        (
            "pod_lock_manager_size",
            "1 where the database is written to",
            stats.leads().into(),
        ),
        (
            "in_memory_spend_update_queue_size",
            "Batches that are not in the database yet",
            stats.batches(),
        ),
        (
            "in_memory_daily_spend_update_queue_size",
            "Rows of minutes and days that are not in the database yet",
            stats.rows(),
        ),
        (
            "redis_spend_update_queue_size",
            "Batches waiting in Redis",
            stats.redis().batches,
        ),
        (
            "redis_daily_spend_update_queue_size",
            "Rows of minutes and days waiting in Redis",
            stats.redis().rows,
        ),
    ]
}

fn state(stats: &SpendStats, account: Account) -> [Metric; 6] {
    [
        (
            "spend_oldest_unflushed_seconds",
            "Age of the oldest record that is not in the database yet",
            stats.oldest_age().as_secs(),
        ),
        (
            "spend_journal_bytes",
            "Bytes of usage journal on disk",
            stats.journal_bytes(),
        ),
        (
            "spend_journal_limit_bytes",
            "Bytes it may have before records are refused",
            stats.journal_limit.load(Relaxed),
        ),
        (
            "spend_journal_healthy",
            "0 while the usage journal cannot be written",
            stats.journal_healthy().into(),
        ),
        (
            "spend_records_pending_total",
            "Records written down, and neither in the database nor in dead letters",
            account
                .recorded
                .saturating_sub(account.committed + account.dead_lettered),
        ),
        (
            "spend_records_owed",
            "Records pending by the journal's own count: as many as spend_records_pending_total",
            account.pending,
        ),
    ]
}

fn totals(stats: &SpendStats, account: Account) -> [Metric; 8] {
    [
        (
            "spend_records_recorded",
            "Usage records written down",
            account.recorded,
        ),
        (
            "spend_records_committed",
            "Usage records in the database",
            account.committed,
        ),
        (
            "spend_records_dead_lettered",
            "Usage records of which something was set aside because the database will never take it",
            account.dead_lettered,
        ),
        (
            "spend_records_refused",
            "Usage records that could not be written down",
            stats.refused(),
        ),
        (
            "spend_records_capped",
            "Usage records whose tokens or price are implausible, counted as the largest plausible amount",
            stats.capped(),
        ),
        (
            "spend_journal_errors",
            "Failed writes and syncs of the usage journal",
            stats.journal_errors.load(Relaxed),
        ),
        (
            "spend_flush_errors",
            "Transactions that failed and were tried again",
            stats.flush_errors(),
        ),
        (
            "spend_dead_letters",
            "Dead letters written by this router",
            stats.dead_letters(),
        ),
    ]
}

fn redis_state(stats: &SpendStats) -> [Metric; 3] {
    [
        (
            "spend_redis_up",
            "1 while Redis answers how much waits in it; while it is 0 the queue sizes are the last known",
            stats.redis_up().into(),
        ),
        (
            "spend_redis_bytes",
            "Bytes of batches waiting in Redis",
            stats.redis().bytes,
        ),
        (
            "spend_redis_full",
            "1 while Redis holds as many batches as it may",
            stats.redis_full().into(),
        ),
    ]
}

fn redis_totals(stats: &SpendStats) -> [Metric; 4] {
    [
        (
            "spend_redis_errors",
            "Calls to Redis that failed and were tried again",
            stats.redis_errors.load(Relaxed),
        ),
        (
            "spend_batches_resent",
            "Batches that Redis lost and that were sent again",
            stats.resent(),
        ),
        (
            "spend_batches_diverted",
            "Batches that bypassed Redis, straight to the database",
            stats.diverted(),
        ),
        (
            "spend_records_on_disk_only",
            "Usage records whose answer ended when only the journal had them, though Redis or the database was to",
            stats.on_disk_only(),
        ),
    ]
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, gauges: &[Metric]) -> fmt::Result {
    for &(name, help, value) in gauges {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let into = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(into)?;
    }
    Ok(())
}

fn counters(encoder: &mut DescriptorEncoder<'_>, counters: &[Metric]) -> fmt::Result {
    for &(name, help, value) in counters {
        let counter = ConstCounter::new(value);
        let into = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(into)?;
    }
    Ok(())
}
