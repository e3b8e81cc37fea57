//! The herd's gauges, read from the cells when a scraper asks: they cannot drift.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::Fleet;
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
        let view = self.0.view();
        let one = ConstGauge::new(0_i64);
        let mut up = encoder.encode_descriptor(
            "endpoint_up",
            "1 while the server answers",
            None,
            one.metric_type(),
        )?;
        for server in &view.servers {
            let labels = EndpointLabel {
                endpoint: server.endpoint.name().clone(),
            };
            let value = ConstGauge::new(i64::from(server.endpoint.is_up()));
            value.encode(up.encode_family(&labels)?)?;
        }
        let mut running = encoder.encode_descriptor(
            "in_flight",
            "Requests running on the server",
            None,
            one.metric_type(),
        )?;
        for server in &view.servers {
            for seat in server.endpoint.seats() {
                let labels = PairLabels {
                    endpoint: server.endpoint.name().clone(),
                    model: seat.model().clone(),
                };
                let value = ConstGauge::new(i64::from(seat.in_flight()));
                value.encode(running.encode_family(&labels)?)?;
            }
        }
        let mut waiting = encoder.encode_descriptor(
            "queue_length",
            "Requests waiting for a slot",
            None,
            one.metric_type(),
        )?;
        for (model, length) in self.0.queue_lengths() {
            let value = ConstGauge::new(i64::try_from(length).unwrap_or(i64::MAX));
            value.encode(waiting.encode_family(&ModelLabel { model })?)?;
        }
        Ok(())
    }
}
