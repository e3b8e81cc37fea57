//! `[redis]`: the databases between several routers.
//!
//! Absent means one process with everything in memory and SQLite. The options are those of the
//! multi-database client under their own names, which are redis-py's; this file says only how they
//! are written, their meaning is told where the client is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Secret, duration};

/// The multi-database client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Redis {
    /// First part of every key, so that several fleets may share a database.
    pub key_prefix: String,
    /// How long a command may stay unanswered.
    #[serde(with = "duration")]
    pub response_timeout: Duration,
    /// How long a connection may take, TLS and handshake included.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often a command that may be repeated is.
    pub command_retries: u32,
    /// The first pause before a repetition, before jitter; it doubles.
    #[serde(with = "duration")]
    pub command_retry_base: Duration,
    /// No pause is longer.
    #[serde(with = "duration")]
    pub command_retry_cap: Duration,
    /// Between two health checks of a database.
    #[serde(with = "duration")]
    pub health_interval: Duration,
    /// Probes of one check.
    pub health_check_probes: u32,
    /// Between two probes.
    #[serde(with = "duration")]
    pub health_check_delay: Duration,
    /// For a check with all its probes.
    #[serde(with = "duration")]
    pub health_check_timeout: Duration,
    /// How many of a check's probes must pass.
    pub health_check_policy: HealthCheckPolicy,
    /// How many databases must be healthy at the start.
    pub initial_health_check_policy: InitialHealthCheckPolicy,
    /// How long to keep trying until as many are; zero is one try.
    #[serde(with = "duration")]
    pub initial_deadline: Duration,
    /// Failures within the window that make a database fail; 0 leaves it to the rate.
    pub min_num_failures: u32,
    /// Failures as a fraction of the successes within the window; 0 leaves it to the number.
    pub failure_rate_threshold: f64,
    /// How far back failures count.
    #[serde(with = "duration")]
    pub failures_detection_window: Duration,
    /// Failures in a row that make a database fail; 0 switches the rule off.
    pub consecutive_failures: u32,
    /// Successes in a row that make it healthy again.
    pub success_threshold: u32,
    /// Commands at once on a database on trial.
    pub half_open_slots: u16,
    /// Whether one is tried before its grace is over when there is no other.
    pub last_resort: bool,
    /// For so many delays the state is called temporary.
    pub failover_attempts: u32,
    /// See `failover_attempts`.
    #[serde(with = "duration")]
    pub failover_delay: Duration,
    /// How often to look for a heavier database to return to; zero never does.
    #[serde(with = "duration")]
    pub auto_fallback_interval: Duration,
    /// The heaviest healthy one is used.
    pub database: Vec<Database>,
}

/// One Redis database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Database {
    /// `redis://user:password@host:port/number`, or `rediss://` for TLS; secret, because it may carry
    /// a password. For a cluster one of its nodes; for a Sentinel group one of the sentinels.
    pub url: Secret,
    /// What answers there.
    #[serde(default)]
    pub kind: DatabaseKind,
    /// Further nodes of the cluster, or further sentinels, as `host:port`.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// A Sentinel group's name for its master.
    #[serde(default)]
    pub master: String,
    /// How to connect to the master of a Sentinel group (user, password, number, TLS); its host is not
    /// used. Empty: like the sentinels.
    #[serde(default)]
    pub master_url: Secret,
    /// What it is called in reports; empty: its address.
    #[serde(default)]
    pub name: String,
    /// Preference among the healthy ones; above zero.
    #[serde(default = "one")]
    pub weight: f64,
    /// How long a failed database is left alone.
    #[serde(default = "minute", with = "duration")]
    pub grace_period: Duration,
    /// `https://user:password@host:9443` of Redis Enterprise's REST interface, to look for lag before
    /// going there; empty: not asked. Given for every database or for none.
    #[serde(default)]
    pub health_check_url: Secret,
}

/// What answers at a database's address.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// One server.
    #[default]
    Single,
    /// A Redis Cluster.
    Cluster,
    /// Sentinels, who know the master.
    Sentinel,
}

/// How many of a check's probes must pass.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthCheckPolicy {
    /// All.
    HealthyAll,
    /// More than half.
    HealthyMajority,
    /// One.
    HealthyAny,
}

/// How many databases must be healthy at the start.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InitialHealthCheckPolicy {
    /// All.
    AllAvailable,
    /// More than half.
    MajorityAvailable,
    /// One.
    OneAvailable,
    /// None: a router serves without Redis, and uses the first database that comes.
    NoneAvailable,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            key_prefix: "herdsman".into(),
            response_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            command_retries: 2,
            command_retry_base: Duration::from_millis(10),
            command_retry_cap: Duration::from_secs(1),
            health_interval: Duration::from_secs(5),
            health_check_probes: 3,
            health_check_delay: Duration::from_millis(500),
            health_check_timeout: Duration::from_secs(3),
            health_check_policy: HealthCheckPolicy::HealthyAll,
            // A router that waits for Redis before it serves would make Redis a single point of failure.
            initial_health_check_policy: InitialHealthCheckPolicy::NoneAvailable,
            initial_deadline: Duration::ZERO,
            min_num_failures: 10,
            failure_rate_threshold: 0.1,
            failures_detection_window: Duration::from_secs(2),
            consecutive_failures: 5,
            success_threshold: 2,
            half_open_slots: 16,
            last_resort: true,
            failover_attempts: 10,
            failover_delay: Duration::from_secs(12),
            auto_fallback_interval: Duration::from_secs(120),
            database: Vec::new(),
        }
    }
}

impl Database {
    /// The single server at `url`, everything else by default.
    #[must_use]
    pub fn at(url: Secret) -> Self {
        Self {
            url,
            kind: DatabaseKind::Single,
            nodes: Vec::new(),
            master: String::new(),
            master_url: Secret::default(),
            name: String::new(),
            weight: one(),
            grace_period: minute(),
            health_check_url: Secret::default(),
        }
    }
}

fn one() -> f64 {
    1.0
}

fn minute() -> Duration {
    Duration::from_secs(60)
}
