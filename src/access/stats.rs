//! What is measured of access.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Refused;
use super::register::Published;
use crate::domain::AccountKind;
use crate::metrics::Registry;

/// Refusals, and how many accounts there are.
#[derive(Clone, Debug)]
pub struct AccessStats {
    refused: Family<Reason, Counter>,
    published: Arc<Published>,
    sharers: Arc<AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug)]
struct Accounts(Arc<Published>, Arc<AtomicI64>);

impl AccessStats {
    pub(super) fn new(published: Arc<Published>, sharers: Arc<AtomicI64>) -> Self {
        Self {
            refused: Family::default(),
            published,
            sharers,
        }
    }

    /// Routers among which limits are shared, this one included, as of its last answer. Zero while the
    /// shared ledger is away, or too new to give anything.
    #[must_use]
    pub fn sharers(&self) -> i64 {
        self.sharers.load(Ordering::Relaxed)
    }

    /// Budgets that were found above their soft limit, each once a period.
    #[must_use]
    pub fn soft_limits_exceeded(&self) -> u64 {
        self.published.soft.load(Ordering::Relaxed)
    }

    /// Makes the metrics known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "access_refused",
            "Requests not let in, by reason",
            self.refused.clone(),
        );
        registry.register_collector(Box::new(Accounts(
            Arc::clone(&self.published),
            Arc::clone(&self.sharers),
        )));
    }

    pub(super) fn refused(&self, refused: &Refused) {
        let reason = refused.label();
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}

impl Collector for Accounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let view = self.0.view.load();
        let gauge =
            ConstGauge::new(i64::try_from(view.count(AccountKind::Key)).unwrap_or(i64::MAX));
        let family = encoder.encode_descriptor(
            "access_keys",
            "API keys known to this router",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(family)?;
        let sharers = ConstGauge::new(self.1.load(Ordering::Relaxed));
        let family = encoder.encode_descriptor(
            "access_sharers",
            "Routers that share limits, this one included; 0 while Redis cannot be asked about them",
            None,
            sharers.metric_type(),
        )?;
        sharers.encode(family)?;
        let soft = ConstCounter::new(self.0.soft.load(Ordering::Relaxed));
        let family = encoder.encode_descriptor(
            "access_soft_limits_exceeded",
            "Budgets found above their soft limit, each once a period",
            None,
            soft.metric_type(),
        )?;
        soft.encode(family)?;
        let unreadable = self.0.unreadable_prices.load(Ordering::Relaxed);
        let unreadable = ConstGauge::new(i64::try_from(unreadable).unwrap_or(i64::MAX));
        let family = encoder.encode_descriptor(
            "access_prices_not_understood",
            "Prices in the database that are none and do not count",
            None,
            unreadable.metric_type(),
        )?;
        unreadable.encode(family)
    }
}
