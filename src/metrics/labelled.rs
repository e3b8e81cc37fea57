//! Metrics of one name, by label set.
//!
//! What prometheus-client's own `Family` does, and one thing more: what is about something that is
//! gone can be removed by what its labels say ([`Labelled::retain`]).

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// See the module. Clones are the same metrics.
pub struct Labelled<L, M> {
    metrics: Arc<DashMap<L, M, RandomState>>,
    make: fn() -> M,
}

impl<L: Clone + Eq + Hash, M: Clone> Labelled<L, M> {
    /// None yet; each is made by `make` when it is first asked for.
    #[must_use]
    pub fn new(make: fn() -> M) -> Self {
        Self {
            metrics: Arc::default(),
            make,
        }
    }

    /// The metric with these labels.
    #[must_use]
    pub fn get(&self, labels: &L) -> M {
        if let Some(metric) = self.metrics.get(labels) {
            return metric.clone();
        }
        let metric = self.metrics.entry(labels.clone());
        metric.or_insert_with(self.make).clone()
    }

    /// Removes those whose labels are not to be kept.
    pub fn retain(&self, keep: impl Fn(&L) -> bool) {
        self.metrics.retain(|labels, _| keep(labels));
    }
}

impl<L, M> Clone for Labelled<L, M> {
    fn clone(&self) -> Self {
        Self {
            metrics: Arc::clone(&self.metrics),
            make: self.make,
        }
    }
}

impl<L: Eq + Hash, M> fmt::Debug for Labelled<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labelled")
            .field("metrics", &self.metrics.len())
            .finish_non_exhaustive()
    }
}

impl<L, M> EncodeMetric for Labelled<L, M>
where
    L: EncodeLabelSet + Eq + Hash,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for entry in self.metrics.iter() {
            entry.value().encode(encoder.encode_family(entry.key())?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::metrics::{EndpointLabel, Registry, render};

    #[test]
    fn what_is_removed_is_not_shown_any_more_and_begins_anew() {
        let counters = Labelled::new(Counter::<u64>::default);
        let mut registry = Registry::default();
        registry.register("n", "A number", counters.clone());
        let label = |endpoint: &str| EndpointLabel {
            endpoint: endpoint.into(),
        };
        counters.get(&label("a")).inc();
        counters.get(&label("b")).inc_by(2);
        counters.retain(|labels| &*labels.endpoint != "a");
        let text = render(&registry).unwrap();
        assert!(text.contains("n_total{endpoint=\"b\"} 2"), "{text}");
        assert!(!text.contains("endpoint=\"a\""), "{text}");
        assert_eq!(counters.get(&label("a")).get(), 0);
    }
}
