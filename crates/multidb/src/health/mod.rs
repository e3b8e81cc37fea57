//! Whether a database is healthy, checked outside its traffic.
//!
//! A check gets a [`HealthTarget`]: connections of the health checks' own, never the one commands
//! travel on, so that neither waits for the other. All checks of a round run at once, each with its
//! own time; all must pass. A policy says how many probes of one check must.
//!
//! A check may be *failback only*: it prevents moving to a database and never takes
//! traffic from the active one. Replication lag is of that kind: a database that lags and is active
//! is better than none.

pub mod lag_aware;
mod ping;
mod policy;
mod round;
mod target;
pub(crate) mod watcher;
mod writable;

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use ping::PingHealthCheck;
pub use policy::HealthCheckPolicy;
use policy::Verdict;
pub(crate) use round::{Report, confirm, round};
pub use target::HealthTarget;
pub use writable::WritableHealthCheck;

/// Why a database is not healthy, as text for a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unhealthy(pub String);

impl From<redis::RedisError> for Unhealthy {
    fn from(error: redis::RedisError) -> Self {
        Self(error.to_string())
    }
}

/// How often one check asks in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbeSettings {
    /// `health_check_probes`: at least 1.
    pub probes: u32,
    /// `health_check_delay`: between two probes.
    pub delay: Duration,
    /// `health_check_timeout`: for the check with all its probes and delays.
    pub timeout: Duration,
    /// `health_check_policy`: how many probes must pass.
    pub policy: HealthCheckPolicy,
}

/// One kind of health check.
pub trait HealthCheck: Debug + Send + Sync + 'static {
    /// What it is called in events and in the status.
    fn name(&self) -> &str;

    /// One probe. Dropped when its time is over, so it must hold nothing that suffers from that.
    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>>;

    /// Whether it only prevents moving to a database.
    fn failback_only(&self) -> bool {
        false
    }

    /// Whether it is asked again, out of turn, to confirm what a failing command suggests: one probe
    /// with a few dozen milliseconds to answer. For checks that ask the database itself.
    fn is_quick(&self) -> bool {
        false
    }

    /// Its own probes, delay and timeout instead of the client's.
    fn settings(&self) -> Option<ProbeSettings> {
        None
    }
}
