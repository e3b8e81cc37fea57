//! One Redis client over many databases: together they behave as one that does not go away.
//!
//! Knows Redis and nothing of the program around it. [`MultiDb`] is a [`redis::aio::ConnectionLike`],
//! so `AsyncCommands`, pipelines, `Script` and anything generic over connections work unchanged.

mod circuit;
mod config;
mod database;
mod detector;
mod error;
mod event;
pub mod health;
mod member;
mod metrics;
mod outcome;
pub mod pubsub;
mod status;
mod strategy;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub use circuit::CircuitState;
pub use config::{
    CommandRetry, DatabaseConfig, InitialHealthCheckPolicy, Invalid, MultiDbConfig, Server,
};
pub use database::{Database, DatabaseId};
pub use detector::{CommandFailureDetector, ConsecutiveFailureDetector, FailureDetector};
pub use error::Error;
pub use event::{Event, SwitchReason};
pub use health::{
    HealthCheck, HealthCheckPolicy, HealthTarget, PingHealthCheck, ProbeSettings, Unhealthy,
    WritableHealthCheck,
};
pub use metrics::{DatabaseMetrics, Metrics, Switch};
pub use outcome::{Effect, FailureKind, Outcome};
pub use status::{DatabaseStatus, HealthStatus, Status};
pub use strategy::{Candidate, FailoverStrategy, WeightBasedFailoverStrategy};

/// Who takes the commands, and since which change: for those who must follow it (pub/sub).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// `None`: nobody.
    pub database: Option<Database>,
    /// Counts the changes of the active database; never repeats.
    pub generation: u64,
    /// Since when.
    pub since: Instant,
}

/// The client. Cloning shares it; it ends with [`close`](Self::close) or its last clone.
#[derive(Clone, Debug)]
pub struct MultiDb {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {}

impl MultiDb {
    /// Checks all databases, chooses the active one and keeps doing both from then on.
    pub async fn connect(config: MultiDbConfig) -> Result<Self, Error> {
        config.validate()?;
        todo!()
    }

    /// Ends health checks, connections and subscriptions, and waits for that. Commands answer
    /// [`Error::Closed`] from now on.
    pub async fn close(&self) {
        todo!()
    }

    /// How things stand.
    pub fn status(&self) -> Arc<Status> {
        todo!()
    }

    /// What happens from now on. A receiver that falls behind by 1024 events loses the oldest and is
    /// told how many.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        todo!()
    }

    /// What was counted.
    pub fn metrics(&self) -> Metrics {
        todo!()
    }

    /// The active database, and every change of it.
    pub fn active(&self) -> watch::Receiver<Active> {
        todo!()
    }

    /// This client, saying of every command: it may be repeated, also when it is not known whether
    /// it was carried out.
    pub fn idempotent(&self) -> Idempotent {
        Idempotent { db: self.clone() }
    }

    /// A connection of its own to the database that is active now, for WATCH and blocking commands.
    /// It stays there; when that database fails, so does the connection.
    pub async fn pin_active(&self) -> Result<Pinned, Error> {
        todo!()
    }

    /// A pub/sub connection to one database (of a cluster: to one of its nodes).
    pub async fn open_pubsub(&self, database: DatabaseId) -> Result<redis::aio::PubSub, Error> {
        drop(database);
        todo!()
    }

    /// One more database. It becomes active only when it is healthy and heavier than the active one.
    pub async fn add_database(&self, config: DatabaseConfig) -> Result<DatabaseId, Error> {
        drop(config);
        todo!()
    }

    /// One database less. The active one is left first; without an alternative it stays.
    pub async fn remove_database(&self, database: DatabaseId) -> Result<(), Error> {
        drop(database);
        todo!()
    }

    /// Another weight, effective at once: a heavier healthy one takes over.
    pub async fn update_database_weight(
        &self,
        database: DatabaseId,
        weight: f64,
    ) -> Result<(), Error> {
        drop((database, weight));
        todo!()
    }

    /// Makes this database the active one, if a health check now finds it well.
    pub async fn set_active_database(&self, database: DatabaseId) -> Result<(), Error> {
        drop(database);
        todo!()
    }

    /// Makes this database the active one, unasked. Closes its circuit.
    pub async fn force_active_database(&self, database: DatabaseId) -> Result<(), Error> {
        drop(database);
        todo!()
    }

    /// One more check, of all databases, from the next round on.
    pub async fn add_health_check(&self, check: Arc<dyn HealthCheck>) -> Result<(), Error> {
        drop(check);
        todo!()
    }

    /// One more detector, for all databases.
    pub async fn add_failure_detector(
        &self,
        detector: Arc<dyn FailureDetector>,
    ) -> Result<(), Error> {
        drop(detector);
        todo!()
    }

    /// Another `auto_fallback_interval`; `None` or zero: never.
    pub async fn set_auto_fallback_interval(
        &self,
        interval: Option<Duration>,
    ) -> Result<(), Error> {
        drop(interval);
        todo!()
    }
}

impl ConnectionLike for MultiDb {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        drop(cmd.clone());
        todo!()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _offset: usize,
        _count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        drop(pipeline.clone());
        todo!()
    }

    fn get_db(&self) -> i64 {
        drop(Arc::clone(&self.core));
        0
    }
}

/// [`MultiDb::idempotent`].
#[derive(Clone, Debug)]
pub struct Idempotent {
    db: MultiDb,
}

impl ConnectionLike for Idempotent {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.db.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.db.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.db.get_db()
    }
}

/// [`MultiDb::pin_active`].
#[derive(Debug)]
pub struct Pinned {
    database: Database,
}

impl Pinned {
    /// Where it stays.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

impl ConnectionLike for Pinned {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        drop(cmd.clone());
        todo!()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _offset: usize,
        _count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        drop(pipeline.clone());
        todo!()
    }

    fn get_db(&self) -> i64 {
        0
    }
}
