//! `[fleet]`: how the servers are watched. No request ever waits for what these intervals time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// The intervals of the probes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Fleet {
    /// Between two probes of a server's health.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    /// Between two readings of what a server has in memory (`/api/ps`).
    #[serde(with = "duration")]
    pub loaded_interval: Duration,
    /// Between two readings of what a server has on disk (`/api/tags`).
    #[serde(with = "duration")]
    pub models_interval: Duration,
    /// After this long without an answer, the models of a server that is down leave `/api/tags`.
    #[serde(with = "duration")]
    pub stale_after: Duration,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(2),
            loaded_interval: Duration::from_secs(5),
            models_interval: Duration::from_secs(60),
            stale_after: Duration::from_secs(10 * 60),
        }
    }
}
