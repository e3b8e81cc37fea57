//! The fleet's gauges, read from the cells at each scrape: they cannot drift.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Fleet, Observed};
use crate::domain::ModelName;
use crate::metrics::{EndpointLabel, ModelLabel, PairLabels};

/// Collects for one fleet.
#[derive(Debug)]
pub struct Gauges(Fleet);

impl Gauges {
    /// Of this fleet.
    #[must_use]
    pub fn new(fleet: Fleet) -> Self {
        Self(fleet)
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let observed = self.0.observed();
        let one = ConstGauge::new(0_i64);
        let mut family = encoder.encode_descriptor(
            "endpoint_up",
            "1 while the server answers",
            None,
            one.metric_type(),
        )?;
        for (endpoint, up) in up(&observed) {
            let labels = EndpointLabel { endpoint };
            let value = ConstGauge::new(i64::from(up));
            value.encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "in_flight",
            "Requests running on the server",
            None,
            one.metric_type(),
        )?;
        for ((endpoint, model), in_flight) in in_flight(&observed) {
            let labels = PairLabels { endpoint, model };
            let value = ConstGauge::new(i64::from(in_flight));
            value.encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "queue_length",
            "Requests waiting for a slot",
            None,
            one.metric_type(),
        )?;
        for (model, length) in self.0.queue_lengths() {
            let value = ConstGauge::new(i64::try_from(length).unwrap_or(i64::MAX));
            value.encode(family.encode_family(&ModelLabel { model })?)?;
        }
        let value = ConstGauge::new(self.0.slots_divided());
        let slots = encoder.encode_descriptor(
            "slots_divided",
            "Among how many routers the servers' slots are divided; 0 while this one has no part of them",
            None,
            one.metric_type(),
        )?;
        value.encode(slots)
    }
}

/// A name has one value, though a server that drains and its successor may share it.
fn up(observed: &[Observed]) -> BTreeMap<Arc<str>, bool> {
    let mut all = BTreeMap::new();
    for server in observed {
        *all.entry(Arc::clone(&server.id.name)).or_default() |= server.serves();
    }
    all
}

fn in_flight(observed: &[Observed]) -> BTreeMap<(Arc<str>, ModelName), u32> {
    let mut all = BTreeMap::new();
    for server in observed {
        for held in &server.held {
            let pair = (Arc::clone(&server.id.name), held.model.clone());
            *all.entry(pair).or_default() += held.in_flight;
        }
    }
    all
}
