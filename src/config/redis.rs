//! `[redis]`: the databases between several routers.
//!
//! Absent means one process with everything in memory and SQLite. The grammar is here so that a
//! file written for it is read, and answered with a clear refusal, until a carrier exists.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Secret, duration};

/// The multi-database client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Redis {
    /// First part of every key, so that several fleets may share a database.
    pub key_prefix: String,
    /// Between two health checks of a database.
    #[serde(with = "duration")]
    pub health_interval: Duration,
    /// The heaviest healthy one is used.
    pub database: Vec<Database>,
}

/// One Redis database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Database {
    /// `redis://host:port/number`; secret, because it may carry a password.
    pub url: Secret,
    /// Preference among the healthy ones; above zero.
    #[serde(default = "one")]
    pub weight: f64,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            key_prefix: "herdsman".into(),
            health_interval: Duration::from_secs(5),
            database: Vec::new(),
        }
    }
}

fn one() -> f64 {
    1.0
}
