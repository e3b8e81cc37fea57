//! What a configuration cannot mean.

use std::time::Duration;

use super::{DatabaseConfig, MultiDbConfig, Server};

/// Ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// An option that cannot be meant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// There is nothing to connect to.
    #[error("no database")]
    NoDatabases,
    /// A weight must be a number from 0 on: an order over NaN would be no order.
    #[error("database {name}: weight {weight} is not a finite number from 0 on")]
    Weight {
        /// Which database.
        name: String,
        /// What it says.
        weight: f64,
    },
    /// An address that cannot be understood.
    #[error("database {name}: {reason}")]
    Address {
        /// Which database.
        name: String,
        /// What is wrong, without a secret.
        reason: String,
    },
    /// A cluster or a sentinel group without an address.
    #[error("database {name}: no node is named")]
    NoNodes {
        /// Which database.
        name: String,
    },
    /// Something that is counted must be counted at least once.
    #[error("{option} must be at least 1")]
    Zero {
        /// Which option.
        option: &'static str,
    },
    /// A fraction outside 0..=1.
    #[error("{option} {value} is not between 0 and 1")]
    Fraction {
        /// Which option.
        option: &'static str,
        /// What it says.
        value: f64,
    },
    /// A duration that must not be zero.
    #[error("{option} must be longer than 0")]
    NoTime {
        /// Which option.
        option: &'static str,
    },
    /// A duration that is added to a moment must not lead out of the calendar.
    #[error("{option} is longer than ten years; what shall never happen is switched off otherwise")]
    TooLong {
        /// Which option.
        option: &'static str,
    },
    /// The delays alone take longer than the whole check may.
    #[error("health_check_probes × health_check_delay must fit into health_check_timeout")]
    ProbesDoNotFit,
}

/// The first thing that cannot be meant.
pub(super) fn check(config: &MultiDbConfig) -> Result<(), Invalid> {
    if config.databases.is_empty() {
        return Err(Invalid::NoDatabases);
    }
    config.databases.iter().try_for_each(invalid_database)?;
    for (option, count) in [
        ("health_check_probes", config.health_check_probes),
        ("success_threshold", config.success_threshold),
        ("half_open_slots", u32::from(config.half_open_slots)),
    ] {
        if count == 0 {
            return Err(Invalid::Zero { option });
        }
    }
    let rate = config.failure_rate_threshold;
    if !(0.0..=1.0).contains(&rate) {
        return Err(Invalid::Fraction {
            option: "failure_rate_threshold",
            value: rate,
        });
    }
    for (option, time) in [
        ("response_timeout", config.response_timeout),
        ("connect_timeout", config.connect_timeout),
        (
            "failures_detection_window",
            config.failures_detection_window,
        ),
        ("health_check_interval", config.health_check_interval),
        ("health_check_timeout", config.health_check_timeout),
    ] {
        if time == Duration::ZERO {
            return Err(Invalid::NoTime { option });
        }
        bounded(option, time)?;
    }
    for (option, time) in [
        ("command_retry.base", config.command_retry.base),
        ("command_retry.cap", config.command_retry.cap),
        ("failover_delay", config.failover_delay),
        (
            "auto_fallback_interval",
            config.auto_fallback_interval.unwrap_or_default(),
        ),
        (
            "initial_deadline",
            config.initial_deadline.unwrap_or_default(),
        ),
    ] {
        bounded(option, time)?;
    }
    let delays = config
        .health_check_delay
        .saturating_mul(config.health_check_probes - 1);
    if delays >= config.health_check_timeout {
        return Err(Invalid::ProbesDoNotFit);
    }
    Ok(())
}

/// The same for one database, which may also come while running.
pub(crate) fn invalid_database(config: &DatabaseConfig) -> Result<(), Invalid> {
    let name = || config.name.clone().unwrap_or_else(|| config.server.name());
    valid_weight(&name(), config.weight)?;
    bounded("grace_period", config.grace_period)?;
    let urls: Vec<&str> = match &config.server {
        Server::Single { url } => vec![url],
        Server::Cluster { urls } => urls.iter().map(String::as_str).collect(),
        Server::Sentinel {
            sentinels,
            master_url,
            ..
        } => {
            if sentinels.is_empty() {
                return Err(Invalid::NoNodes { name: name() });
            }
            sentinels
                .iter()
                .chain(master_url)
                .map(String::as_str)
                .collect()
        }
    };
    if urls.is_empty() {
        return Err(Invalid::NoNodes { name: name() });
    }
    for url in urls {
        redis::IntoConnectionInfo::into_connection_info(url).map_err(|error| Invalid::Address {
            name: name(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// A duration that can be added to any moment.
pub(crate) fn bounded(option: &'static str, time: Duration) -> Result<Duration, Invalid> {
    if time <= LONGEST {
        return Ok(time);
    }
    Err(Invalid::TooLong { option })
}

/// A weight that can be compared.
pub(crate) fn valid_weight(name: &str, weight: f64) -> Result<f64, Invalid> {
    if weight.is_finite() && weight >= 0.0 {
        return Ok(weight);
    }
    Err(Invalid::Weight {
        name: name.to_owned(),
        weight,
    })
}
