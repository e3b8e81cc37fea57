//! What the Redis client counts, under the program's names.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use herdsman_multidb::{CircuitState, MultiDb};

/// Collects for one client, when a scraper asks.
#[derive(Debug)]
pub(in crate::app) struct Gauges(pub(in crate::app) MultiDb);

/// Names of databases are the operator's; the number tells two of one name apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabels {
    database: String,
    id: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SwitchLabels {
    from: String,
    to: String,
    reason: &'static str,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metrics = self.0.metrics();
        let (gauge, counter) = (ConstGauge::new(0_i64), ConstCounter::new(0_u64));
        let databases = || {
            metrics.databases.iter().map(|database| {
                let labels = DatabaseLabels {
                    database: database.database.name.to_string(),
                    id: database.database.id.get(),
                };
                (labels, database)
            })
        };
        let help = "1 for the Redis database in use";
        let mut active =
            encoder.encode_descriptor("redis_active", help, None, gauge.metric_type())?;
        for (labels, database) in databases() {
            let value = ConstGauge::new(i64::from(database.active));
            value.encode(active.encode_family(&labels)?)?;
        }
        let help = "1 while the Redis database is trusted: its circuit is closed";
        let mut closed =
            encoder.encode_descriptor("redis_closed", help, None, gauge.metric_type())?;
        for (labels, database) in databases() {
            let value = ConstGauge::new(i64::from(database.circuit == CircuitState::Closed));
            value.encode(closed.encode_family(&labels)?)?;
        }
        let help = "Failures that were the Redis database's";
        let mut failures =
            encoder.encode_descriptor("redis_failures", help, None, counter.metric_type())?;
        for (labels, database) in databases() {
            let failed = database
                .failures
                .iter()
                .map(|(_, count)| count)
                .sum::<u64>();
            ConstCounter::new(failed).encode(failures.encode_family(&labels)?)?;
        }
        let help = "Changes of the Redis database in use";
        let mut switches =
            encoder.encode_descriptor("redis_switches", help, None, counter.metric_type())?;
        for (switch, count) in &metrics.switches {
            let name = |database: &Option<herdsman_multidb::Database>| {
                database
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            };
            let labels = SwitchLabels {
                from: name(&switch.from),
                to: name(&switch.to),
                reason: switch.reason.as_str(),
            };
            ConstCounter::new(*count).encode(switches.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
