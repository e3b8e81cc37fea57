//! What became of old rows, for scrapers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::round::Done;

/// Since the start.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) days: AtomicU64,
    pub(super) rows: AtomicU64,
    /// The clocks are not believed.
    pub(super) held: AtomicBool,
}

impl Stats {
    pub(super) fn done(&self) -> Done {
        Done {
            days: self.days.load(Relaxed),
            rows: self.rows.load(Relaxed),
        }
    }
}

pub(super) fn register(stats: &Arc<Stats>, registry: &mut Registry) {
    registry.register_collector(Box::new(Collected(Arc::clone(stats))));
}

#[derive(Debug)]
struct Collected(Arc<Stats>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Done { days, rows } = self.0.done();
        let counters = [
            (
                "store_days_folded",
                "Days of one model on one endpoint whose minutes became one row",
                days,
            ),
            (
                "store_rows_forgotten",
                "Rows older than store.keep_days that were added to a sum without a date, or deleted",
                rows,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let into = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(into)?;
        }
        let held = ConstGauge::new(i64::from(self.0.held.load(Relaxed)));
        let help =
            "1 while nothing old is folded or deleted because clocks disagree or have jumped";
        let into =
            encoder.encode_descriptor("store_retention_held", help, None, held.metric_type())?;
        held.encode(into)
    }
}
