//! Replication lag, asked of a Redis Enterprise cluster over its REST interface.
//!
//! Knows where the administration of a database is (`health_check_url`) and the credentials. It
//! finds the database by the hosts it is reached at, and asks whether it is available and not
//! further behind than tolerated. It fails as *unhealthy*, saying why: no address
//! given, no server, not authorized, not found, not unambiguous, or the server's own reason.
//!
//! By default it only prevents a return ([`failback_only`](LagAwareConfig::failback_only)):
//! a database that lags is better than none, and one whose *administration* is away may serve all
//! the same.
//!
//! Every request carries its whole address and nothing is shared between databases except the pool
//! of connections, which keeps them apart by address; so checks that run at the same time cannot be
//! taken for one another.

mod basic;
mod bdb;
mod rest;
#[cfg(test)]
mod tests;
mod trust;

use std::fmt;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use redis::TlsCertificates;

use super::{HealthCheck, HealthTarget, ProbeSettings, Unhealthy};
use rest::{Base, Rest};

/// How to ask. The names are redis-py's, and so are the defaults unless they say otherwise.
#[derive(Clone)]
pub struct LagAwareConfig {
    /// The port of the REST interface, for addresses without one. 9443.
    pub rest_api_port: u16,
    /// How far behind a database may be. 5 s (redis-py's code: 5000 ms; its documentation: 100).
    pub lag_aware_tolerance: Duration,
    /// For one request. 1 s (redis-py: 30 s, of which its own timeout of 3 s for the whole check
    /// lets nothing come true).
    pub http_timeout: Duration,
    /// User and password, where the database's own address has none.
    pub auth_basic: Option<(String, String)>,
    /// Whether the server's certificate must be one that is trusted. True.
    pub verify_tls: bool,
    /// Root certificates (redis-py's `ca_data`) and a client certificate, as PEM; the key not
    /// encrypted. Default: the system's roots, no client certificate.
    pub tls: Option<TlsCertificates>,
    /// Whether it only prevents moving to a database. True, as in go-redis (redis-py:
    /// it also takes traffic from the active one).
    pub failback_only: bool,
    /// Its own probes instead of the client's.
    pub settings: Option<ProbeSettings>,
}

impl Default for LagAwareConfig {
    fn default() -> Self {
        Self {
            rest_api_port: 9443,
            lag_aware_tolerance: Duration::from_secs(5),
            http_timeout: Duration::from_secs(1),
            auth_basic: None,
            verify_tls: true,
            tls: None,
            failback_only: true,
            settings: None,
        }
    }
}

impl fmt::Debug for LagAwareConfig {
    /// Without the password and the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LagAwareConfig")
            .field("rest_api_port", &self.rest_api_port)
            .field("lag_aware_tolerance", &self.lag_aware_tolerance)
            .field("http_timeout", &self.http_timeout)
            .field("user", &self.auth_basic.as_ref().map(|(user, _)| user))
            .field("verify_tls", &self.verify_tls)
            .field("tls", &self.tls.is_some())
            .field("failback_only", &self.failback_only)
            .field("settings", &self.settings)
            .finish()
    }
}

/// What of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LagAwareError {
    /// The certificates or the key, or the system's roots.
    #[error("TLS: {0}")]
    Tls(String),
    /// User or password cannot be sent.
    #[error("the user's name must be free of colons")]
    User,
}

/// The check.
#[derive(Debug)]
pub struct LagAwareHealthCheck {
    rest: Rest,
    config: LagAwareConfig,
}

impl LagAwareHealthCheck {
    /// Reads the certificates; connects to nothing yet.
    ///
    /// # Errors
    /// When something of the configuration cannot be used.
    pub fn new(config: LagAwareConfig) -> Result<Self, LagAwareError> {
        let rest = Rest::new(&config)?;
        Ok(Self { rest, config })
    }

    /// Asks about the database that is reached at one of `hosts`.
    async fn ask(&self, url: Option<&str>, hosts: &[String]) -> Result<(), Unhealthy> {
        let url = url.ok_or_else(|| Unhealthy("it has no health_check_url".into()))?;
        let base = Base::parse(url, self.config.rest_api_port).ok_or_else(|| {
            let shown = url.rsplit_once('@').map_or(url, |(_, shown)| shown);
            Unhealthy(format!("health_check_url {shown:?} is no address"))
        })?;
        let all = self
            .rest
            .get(&base, "/v1/bdbs?fields=uid,endpoints")
            .await?;
        let uid = bdb::find(&all, hosts).map_err(|error| Unhealthy(format!("{base}: {error}")))?;
        let tolerance = self.config.lag_aware_tolerance.as_millis();
        let path = format!(
            "/v1/bdbs/{uid}/availability?extend_check=lag&availability_lag_tolerance_ms={tolerance}"
        );
        self.rest.get(&base, &path).await.map(drop)
    }
}

impl HealthCheck for LagAwareHealthCheck {
    fn name(&self) -> &str {
        "lag-aware"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        self.ask(target.health_check_url(), target.hosts()).boxed()
    }

    fn failback_only(&self) -> bool {
        self.config.failback_only
    }

    fn settings(&self) -> Option<ProbeSettings> {
        self.config.settings
    }
}
