//! What is measured of loads.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::load::LoadReason;
use crate::domain::ModelName;
use crate::fleet::{Endpoint, SlotPool};
use crate::metrics::{ANSWER_SECONDS, Labelled, PairLabels, Registry, histogram};

/// The families.
#[derive(Clone, Debug)]
pub(super) struct LoadMeters {
    loads: Labelled<LoadLabels, Counter>,
    seconds: Labelled<PairLabels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoadLabels {
    endpoint: Arc<str>,
    model: ModelName,
    reason: &'static str,
}

impl LoadMeters {
    /// Makes the families known to `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let meters = Self {
            loads: Labelled::new(Counter::default),
            seconds: Labelled::new(|| histogram(ANSWER_SECONDS)),
        };
        let Self { loads, seconds } = meters.clone();
        registry.register(
            "loads",
            "Models that the router had loaded, by what for: request, asked, kept",
            loads,
        );
        registry.register("load_seconds", "How long these loads took", seconds);
        meters
    }

    /// A model is loaded.
    pub(super) fn loaded(
        &self,
        endpoint: &Endpoint,
        pool: &SlotPool,
        reason: LoadReason,
        took: Duration,
    ) {
        let labels = PairLabels {
            endpoint: Arc::clone(endpoint.name()),
            model: pool.model().clone(),
        };
        self.seconds.get(&labels).observe(took.as_secs_f64());
        let labels = LoadLabels {
            endpoint: labels.endpoint,
            model: labels.model,
            reason: reason.label(),
        };
        self.loads.get(&labels).inc();
    }

    /// Keeps what is about these servers.
    pub(super) fn retain(&self, is_kept: impl Fn(&Arc<str>) -> bool) {
        self.loads.retain(|labels| is_kept(&labels.endpoint));
        self.seconds.retain(|labels| is_kept(&labels.endpoint));
    }
}
