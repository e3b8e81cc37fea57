//! What was found where, for scrapers.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Discovery, Report};

/// Collects when a scraper asks.
#[derive(Debug)]
pub struct Gauges(Discovery);

/// Names and files are the configuration's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaceLabel {
    place: String,
}

/// A name, what it means, and the value.
type Family = (&'static str, &'static str, fn(&Report) -> usize);

impl Gauges {
    /// Of this one.
    #[must_use]
    pub fn new(discovery: Discovery) -> Self {
        Self(discovery)
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let reports = self.0.report();
        let families: [Family; 2] = [
            ("discovery_servers", "Servers found there", |report| {
                report.servers
            }),
            (
                "discovery_failing",
                "1 while what was found there may be out of date",
                |report| usize::from(report.trouble.is_some()),
            ),
        ];
        for (name, help, value) in families {
            let gauge = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            for report in &reports {
                let place = report.place.to_string();
                let value = ConstGauge::new(i64::try_from(value(report)).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&PlaceLabel { place })?)?;
            }
        }
        Ok(())
    }
}
