//! Every option, by redis-py's names.
//!
//! Where a default differs from redis-py's, the option says both and why. Nothing here does
//! anything: [`MultiDbConfig::validate`] finds invalid options; the rest of the crate relies on it.

mod database;
mod invalid;
mod retry;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use database::{DatabaseConfig, Server};
pub use invalid::Invalid;
pub(crate) use invalid::{bounded, invalid_database, valid_weight};
pub use retry::CommandRetry;

use super::detector::{self, FailureDetector};
use super::health::{HealthCheck, HealthCheckPolicy, PingHealthCheck, WritableHealthCheck};
use super::strategy::{FailoverStrategy, WeightBasedFailoverStrategy};

/// How many databases must be healthy before the client starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialHealthCheckPolicy {
    /// All of them (redis-py's default).
    AllAvailable,
    /// More than half. The default here, as in Jedis, Lettuce and go-redis: one database being down
    /// is what this client is for, and must not keep a service from starting.
    #[default]
    MajorityAvailable,
    /// At least one.
    OneAvailable,
    /// None: the client starts, commands get [`Error::TemporarilyUnavailable`](super::Error), and
    /// the first database that is found healthy is used. For programs that do without Redis for a while.
    /// redis-py has no such policy.
    NoneAvailable,
}

/// The client: its databases, and how it chooses between them.
#[derive(Clone, Debug)]
pub struct MultiDbConfig {
    /// In order of insertion, which breaks ties of weight.
    pub databases: Vec<DatabaseConfig>,
    /// See [`command_retry`](Self::command_retry).
    pub command_retry: CommandRetry,
    /// See [`response_timeout`](Self::response_timeout).
    pub response_timeout: Duration,
    /// See [`connect_timeout`](Self::connect_timeout).
    pub connect_timeout: Duration,
    /// See [`failure_detectors`](Self::failure_detectors); `None` is the default pair.
    pub failure_detectors: Option<Vec<Arc<dyn FailureDetector>>>,
    /// See [`min_num_failures`](Self::min_num_failures).
    pub min_num_failures: u32,
    /// See [`failure_rate_threshold`](Self::failure_rate_threshold).
    pub failure_rate_threshold: f64,
    /// See [`failures_detection_window`](Self::failures_detection_window).
    pub failures_detection_window: Duration,
    /// See [`consecutive_failures`](Self::consecutive_failures).
    pub consecutive_failures: u32,
    /// See [`health_checks`](Self::health_checks); `None` is PING and the role.
    pub health_checks: Option<Vec<Arc<dyn HealthCheck>>>,
    /// See [`health_check_interval`](Self::health_check_interval).
    pub health_check_interval: Duration,
    /// See [`health_check_probes`](Self::health_check_probes).
    pub health_check_probes: u32,
    /// See [`health_check_delay`](Self::health_check_delay).
    pub health_check_delay: Duration,
    /// See [`health_check_timeout`](Self::health_check_timeout).
    pub health_check_timeout: Duration,
    /// See [`health_check_policy`](Self::health_check_policy).
    pub health_check_policy: HealthCheckPolicy,
    /// See [`success_threshold`](Self::success_threshold).
    pub success_threshold: u32,
    /// See [`half_open_slots`](Self::half_open_slots).
    pub half_open_slots: u16,
    /// See [`last_resort`](Self::last_resort).
    pub last_resort: bool,
    /// See [`failover_strategy`](Self::failover_strategy).
    pub failover_strategy: Arc<dyn FailoverStrategy>,
    /// See [`failover_attempts`](Self::failover_attempts).
    pub failover_attempts: u32,
    /// See [`failover_delay`](Self::failover_delay).
    pub failover_delay: Duration,
    /// See [`auto_fallback_interval`](Self::auto_fallback_interval).
    pub auto_fallback_interval: Option<Duration>,
    /// See [`initial_health_check_policy`](Self::initial_health_check_policy).
    pub initial_health_check_policy: InitialHealthCheckPolicy,
    /// See [`initial_deadline`](Self::initial_deadline).
    pub initial_deadline: Option<Duration>,
}

impl MultiDbConfig {
    /// These databases, everything else by default.
    pub fn new(databases: impl IntoIterator<Item = DatabaseConfig>) -> Self {
        Self {
            databases: databases.into_iter().collect(),
            command_retry: CommandRetry::default(),
            response_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            failure_detectors: None,
            min_num_failures: 10,
            failure_rate_threshold: 0.1,
            failures_detection_window: Duration::from_secs(2),
            consecutive_failures: 5,
            health_checks: None,
            health_check_interval: Duration::from_secs(5),
            health_check_probes: 3,
            health_check_delay: Duration::from_millis(500),
            health_check_timeout: Duration::from_secs(3),
            health_check_policy: HealthCheckPolicy::HealthyAll,
            success_threshold: 2,
            half_open_slots: 16,
            last_resort: true,
            failover_strategy: Arc::new(WeightBasedFailoverStrategy),
            failover_attempts: 10,
            failover_delay: Duration::from_secs(12),
            auto_fallback_interval: Some(Duration::from_secs(120)),
            initial_health_check_policy: InitialHealthCheckPolicy::default(),
            initial_deadline: None,
        }
    }

    /// One more database; it comes after those of equal weight.
    #[must_use]
    pub fn database(mut self, database: DatabaseConfig) -> Self {
        self.databases.push(database);
        self
    }

    /// How often, and after which pause, a command is repeated that may be repeated.
    /// 2 retries (redis-py: 10, of everything).
    #[must_use]
    pub fn command_retry(mut self, retry: CommandRetry) -> Self {
        self.command_retry = retry;
        self
    }

    /// How long a command may stay unanswered; after it and a short confirmation a black hole is
    /// left. 500 ms (redis-py's `socket_timeout`: 5 s).
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// How long a connection may take, name lookup, TLS and handshake included.
    /// 1 s (redis-py's `socket_connect_timeout`: 5 s).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Replaces the default detectors (the window rule and the consecutive rule). Each is a
    /// prototype: every database gets its own.
    #[must_use]
    pub fn failure_detectors(
        mut self,
        detectors: impl IntoIterator<Item = Arc<dyn FailureDetector>>,
    ) -> Self {
        self.failure_detectors = Some(detectors.into_iter().collect());
        self
    }

    /// Window rule: at least this many failures in the window. 0 leaves the rate alone to decide.
    /// 10 (redis-py: 1000, which a service below 500 commands a second never reaches).
    #[must_use]
    pub fn min_num_failures(mut self, failures: u32) -> Self {
        self.min_num_failures = failures;
        self
    }

    /// Window rule: failures as a fraction of the successes in the window, at least.
    /// 0 leaves the count alone to decide. 0.1, as in redis-py.
    #[must_use]
    pub fn failure_rate_threshold(mut self, rate: f64) -> Self {
        self.failure_rate_threshold = rate;
        self
    }

    /// Window rule: how far back it looks, sliding. 2 s, as in redis-py (whose window tumbles, and
    /// only when a command succeeds).
    #[must_use]
    pub fn failures_detection_window(mut self, window: Duration) -> Self {
        self.failures_detection_window = window;
        self
    }

    /// Consecutive rule: this many failures with no success in between. 0 switches it off.
    /// 5, as in go-redis (redis-py has none).
    #[must_use]
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = failures;
        self
    }

    /// Replaces the default checks ([`PingHealthCheck`], [`WritableHealthCheck`]). All must pass.
    #[must_use]
    pub fn health_checks(mut self, checks: impl IntoIterator<Item = Arc<dyn HealthCheck>>) -> Self {
        self.health_checks = Some(checks.into_iter().collect());
        self
    }

    /// From the end of one round to the start of the next. 5 s, as in redis-py.
    #[must_use]
    pub fn health_check_interval(mut self, interval: Duration) -> Self {
        self.health_check_interval = interval;
        self
    }

    /// Probes of one check in one round, at least 1. 3, as in redis-py.
    #[must_use]
    pub fn health_check_probes(mut self, probes: u32) -> Self {
        self.health_check_probes = probes;
        self
    }

    /// Between two probes. 0.5 s, as in redis-py.
    #[must_use]
    pub fn health_check_delay(mut self, delay: Duration) -> Self {
        self.health_check_delay = delay;
        self
    }

    /// For one check with all its probes and delays. 3 s, as in redis-py.
    #[must_use]
    pub fn health_check_timeout(mut self, timeout: Duration) -> Self {
        self.health_check_timeout = timeout;
        self
    }

    /// How many of a check's probes must pass. HEALTHY_ALL, as in redis-py.
    #[must_use]
    pub fn health_check_policy(mut self, policy: HealthCheckPolicy) -> Self {
        self.health_check_policy = policy;
        self
    }

    /// Successes in a row that close a half-open circuit, at least 1. 2, as in go-redis
    /// (redis-py: 1).
    #[must_use]
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.success_threshold = successes;
        self
    }

    /// Commands at once on a half-open database, when there is no closed one. At least 1; 16.
    #[must_use]
    pub fn half_open_slots(mut self, slots: u16) -> Self {
        self.half_open_slots = slots;
        self
    }

    /// Whether a database within its grace may be tried when **no** other is closed. Grace keeps
    /// traffic on the better database; with no other it would only prolong an outage, so a healthy
    /// round then opens it for trials early. True.
    #[must_use]
    pub fn last_resort(mut self, allowed: bool) -> Self {
        self.last_resort = allowed;
        self
    }

    /// Which database comes next. The heaviest closed one, as in redis-py.
    #[must_use]
    pub fn failover_strategy(mut self, strategy: Arc<dyn FailoverStrategy>) -> Self {
        self.failover_strategy = strategy;
        self
    }

    /// For how many [`failover_delay`](Self::failover_delay)s the client calls its state
    /// *temporarily* unavailable. 10, as in redis-py.
    #[must_use]
    pub fn failover_attempts(mut self, attempts: u32) -> Self {
        self.failover_attempts = attempts;
        self
    }

    /// See [`failover_attempts`](Self::failover_attempts). 12 s, as in redis-py. Nothing waits for
    /// it: a database that comes back is used at once.
    #[must_use]
    pub fn failover_delay(mut self, delay: Duration) -> Self {
        self.failover_delay = delay;
        self
    }

    /// How often to look for a heavier database to return to, and how long after an automatic
    /// failover not to. `None` or zero: never. 120 s, as in redis-py. It doubles, up to 32 times, with
    /// every return that did not last one interval.
    #[must_use]
    pub fn auto_fallback_interval(mut self, interval: Option<Duration>) -> Self {
        self.auto_fallback_interval = interval;
        self
    }

    /// How many databases must be healthy to start. See [`InitialHealthCheckPolicy`].
    #[must_use]
    pub fn initial_health_check_policy(mut self, policy: InitialHealthCheckPolicy) -> Self {
        self.initial_health_check_policy = policy;
        self
    }

    /// How long to keep trying to start, a round every half second. `None`: one round, as redis-py.
    #[must_use]
    pub fn initial_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.initial_deadline = deadline;
        self
    }

    /// The checks that are run.
    pub(crate) fn checks(&self) -> Vec<Arc<dyn HealthCheck>> {
        self.health_checks
            .clone()
            .unwrap_or_else(|| vec![Arc::new(PingHealthCheck), Arc::new(WritableHealthCheck)])
    }

    /// The detectors every database gets a copy of.
    pub(crate) fn detectors(&self) -> Vec<Arc<dyn FailureDetector>> {
        self.failure_detectors.clone().unwrap_or_else(|| {
            let mut detectors: Vec<Arc<dyn FailureDetector>> =
                vec![Arc::new(detector::CommandFailureDetector::new(
                    self.min_num_failures,
                    self.failure_rate_threshold,
                    self.failures_detection_window,
                ))];
            if self.consecutive_failures > 0 {
                detectors.push(Arc::new(detector::ConsecutiveFailureDetector::new(
                    self.consecutive_failures,
                )));
            }
            detectors
        })
    }

    /// Finds invalid options. [`MultiDb::connect`](super::MultiDb::connect) calls it.
    pub fn validate(&self) -> Result<(), Invalid> {
        invalid::check(self)
    }
}
