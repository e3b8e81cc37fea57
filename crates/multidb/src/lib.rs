//! One Redis client over many databases: together they behave as one that does not go away.
//!
//! [`MultiDb`] is a [`redis::aio::ConnectionLike`], so `AsyncCommands`, pipelines, `Script` and
//! anything generic over connections work unchanged. The crate knows Redis and nothing of the program
//! around it.
//!
//! ```text
//!            command ─── one pointer: the route ──▶ member A (active) ══▶ redis
//!               │ failed                            member B (waiting) ══▶ redis
//!               ▼                                       ▲ ▲
//!            failover ── decides, publishes route ──────┘ │
//!               ▲                                         │
//!               └────── connection up, lost; health ──────┘ connector, watcher
//! ```
//!
//! | module | owns |
//! |---|---|
//! | `config` | every option, by redis-py's names |
//! | `circuit`, `detector`, `outcome`, `strategy` | when a database is trusted; pure |
//! | `repeat` | what may be sent twice; pure |
//! | `member` | one database: its connections |
//! | `health` | its health checks |
//! | `failover` | the decisions |
//! | `views` | what is published of them |
//! | `command` | one command, to its end |
//! | `pubsub` | subscriptions that move; with the feature of that name |
//!
//! It fails by saying so: a command is carried out, or certainly not carried out
//! ([`Error::was_not_sent`]), or its outcome is unknown and said to be. Which of these, and what is
//! tried before, is a rule (`repeat`). Nothing here outlives the client.
//!
//! ```
//! use std::time::Duration;
//!
//! use herdsman_multidb::{DatabaseConfig, Error, Item, MultiDb, MultiDbConfig};
//! use redis::AsyncCommands;
//!
//! async fn example() -> Result<(), Box<dyn std::error::Error>> {
//!     let databases = [
//!         DatabaseConfig::from_url("rediss://app:secret@near.example:6379/0").weight(2.0),
//!         DatabaseConfig::cluster(["redis://far-1.example:6379", "redis://far-2.example:6379"]),
//!         DatabaseConfig::sentinel(["redis://watch.example:26379"], "mymaster").weight(0.5),
//!     ];
//!     let config = MultiDbConfig::new(databases).response_timeout(Duration::from_millis(300));
//!     let mut db = MultiDb::connect(config).await?;
//!
//!     // It is a connection like any other: commands, pipelines, scripts.
//!     let _: () = db.set("greeting", "hello").await?;
//!     match db.incr::<_, _, i64>("visits", 1).await {
//!         Ok(visits) => println!("{visits}"),
//!         Err(error) => match Error::of(&error) {
//!             // Sent, not answered, and not to be repeated unasked: only the caller knows.
//!             Some(Error::OutcomeUnknown { database, .. }) => println!("on {database}, or not"),
//!             Some(Error::TemporarilyUnavailable { down_for }) => println!("none for {down_for:?}"),
//!             _ => return Err(error.into()),
//!         },
//!     }
//!     // What may be carried out twice can say so, and is repeated on the next database.
//!     let _: i64 = db.idempotent().sadd("seen", "a").await?;
//!
//!     // Subscriptions follow the active database, and say where something may be missing.
//!     let mut news = db.pubsub();
//!     news.subscribe("news").await?;
//!     while let Some(item) = news.recv().await {
//!         match item {
//!             Item::Message(message) => println!("{}", message.payload()?),
//!             gap => println!("read your state afresh: {gap:?}"),
//!         }
//!     }
//!     Ok(())
//! }
//! ```

mod circuit;
mod command;
mod config;
mod database;
mod detector;
mod error;
mod event;
mod failover;
mod health;
mod member;
mod metrics;
mod outcome;
#[cfg(feature = "pubsub")]
mod pubsub;
mod repeat;
mod start;
mod status;
mod strategy;
mod views;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use circuit::CircuitState;
pub use command::Pinned;
pub use config::{
    CommandRetry, DatabaseConfig, InitialHealthCheckPolicy, Invalid, MultiDbConfig, Server,
};
pub use database::{Database, DatabaseId};
pub use detector::{CommandFailureDetector, ConsecutiveFailureDetector, FailureDetector};
pub use error::Error;
pub use event::{Event, SwitchReason};
pub use health::lag_aware::{LagAwareConfig, LagAwareHealthCheck};
pub use health::{
    HealthCheck, HealthCheckPolicy, HealthTarget, PingHealthCheck, ProbeSettings, Unhealthy,
    WritableHealthCheck,
};
pub use metrics::{DatabaseMetrics, Metrics, Switch};
pub use outcome::{Effect, FailureKind, Outcome};
#[cfg(feature = "pubsub")]
pub use pubsub::{
    Gap, GapCause, Item, Items, PubSub, Published, SubscribeError, Subscriptions, Topic, TopicKind,
};
pub use status::{DatabaseStatus, HealthStatus, Status};
pub use strategy::{Candidate, FailoverStrategy, WeightBasedFailoverStrategy};

use command::{Executor, Many, Single};
use failover::Message;

/// Which database takes the commands, and since which change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// `None`: no database.
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
struct Core {
    executor: Arc<Executor>,
    #[cfg(feature = "pubsub")]
    hub: pubsub::Hub,
    tasks: TaskTracker,
    ended: CancellationToken,
    /// With the last clone everything ends.
    _guard: DropGuard,
}

impl Core {
    fn views(&self) -> &views::Views {
        &self.executor.views
    }

    /// Sends a request to the failover actor.
    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Message,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.executor.mailbox.send(message(reply)).await;
        sent.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl MultiDb {
    /// Checks all databases, chooses the active one and keeps doing both from then on.
    pub async fn connect(config: MultiDbConfig) -> Result<Self, Error> {
        start::start(config).await
    }

    /// Ends health checks, connections and subscriptions, and waits for that. Commands answer
    /// [`Error::Closed`] from now on.
    pub async fn close(&self) {
        self.core.ended.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }

    /// The status of all databases.
    pub fn status(&self) -> Arc<Status> {
        self.core.views().status.load_full()
    }

    /// What happens from now on. A receiver that falls behind by 1024 events loses the oldest and is
    /// told how many.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.core.views().events.subscribe()
    }

    /// What was counted.
    pub fn metrics(&self) -> Metrics {
        let waiting = &self.core.executor.mailbox;
        let waiting = waiting.max_capacity() - waiting.capacity();
        Metrics::of(self.core.views(), waiting as u64)
    }

    /// The active database, and every change of it.
    pub fn active(&self) -> watch::Receiver<Active> {
        self.core.views().active.subscribe()
    }

    /// This client, saying of every command: it may be repeated, also when it is not known whether
    /// it was carried out. Of a transaction it says nothing: that is applied at most once.
    pub fn idempotent(&self) -> Idempotent {
        Idempotent { db: self.clone() }
    }

    /// A connection of its own to the database that is active now, for WATCH and blocking commands.
    /// It stays there; when that database fails, so does the connection.
    pub async fn pin_active(&self) -> Result<Pinned, Error> {
        let Core {
            executor,
            tasks,
            ended,
            ..
        } = &*self.core;
        Pinned::connect(Arc::clone(executor), tasks, ended).await
    }

    /// One more database. It becomes active only when it is healthy and heavier than the active one.
    pub async fn add_database(&self, config: DatabaseConfig) -> Result<DatabaseId, Error> {
        let config = Box::new(config);
        self.core.ask(|reply| Message::Add { config, reply }).await
    }

    /// One database less. The active one is left first; without an alternative it stays. Commands on
    /// their way to it are still answered.
    pub async fn remove_database(&self, database: DatabaseId) -> Result<(), Error> {
        let id = database;
        self.core.ask(|reply| Message::Remove { id, reply }).await
    }

    /// Another weight, effective at once: a heavier healthy one takes over.
    pub async fn update_database_weight(
        &self,
        database: DatabaseId,
        weight: f64,
    ) -> Result<(), Error> {
        let id = database;
        self.core
            .ask(|reply| Message::Weight { id, weight, reply })
            .await
    }

    /// Makes this database the active one, if its circuit is closed and a health check now finds it
    /// well. After one `auto_fallback_interval` a heavier one may take over again.
    pub async fn set_active_database(&self, database: DatabaseId) -> Result<(), Error> {
        let id = database;
        self.core
            .ask(|reply| Message::SetActive { id, reply })
            .await
    }

    /// Makes this database the active one, unasked. Closes its circuit, whatever its grace.
    pub async fn force_active_database(&self, database: DatabaseId) -> Result<(), Error> {
        let id = database;
        self.core.ask(|reply| Message::Force { id, reply }).await
    }

    /// One more check, of all databases, from the next round on.
    pub async fn add_health_check(&self, check: Arc<dyn HealthCheck>) -> Result<(), Error> {
        self.core
            .ask(|reply| Message::AddHealthCheck { check, reply })
            .await
    }

    /// One more detector, for all databases.
    pub async fn add_failure_detector(
        &self,
        detector: Arc<dyn FailureDetector>,
    ) -> Result<(), Error> {
        self.core
            .ask(|reply| Message::AddFailureDetector { detector, reply })
            .await
    }

    /// Another `auto_fallback_interval`; `None` or zero: never.
    pub async fn set_auto_fallback_interval(
        &self,
        interval: Option<Duration>,
    ) -> Result<(), Error> {
        self.core
            .ask(|reply| Message::SetFallback { interval, reply })
            .await
    }

    /// The database number of the active database's URL.
    fn db(&self) -> i64 {
        let views = self.core.views();
        let id = views.status.load().active;
        id.and_then(|id| views.member(id))
            .map_or(0, |member| member.dialer().db())
    }
}

impl ConnectionLike for MultiDb {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let idempotent = false;
        Box::pin(self.core.executor.execute(Single { cmd, idempotent }))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.core.executor.execute(Many {
            pipeline,
            offset,
            count,
            idempotent: false,
        }))
    }

    fn get_db(&self) -> i64 {
        self.db()
    }
}

/// [`MultiDb::idempotent`].
#[derive(Clone, Debug)]
pub struct Idempotent {
    db: MultiDb,
}

impl ConnectionLike for Idempotent {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let idempotent = true;
        Box::pin(self.db.core.executor.execute(Single { cmd, idempotent }))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.db.core.executor.execute(Many {
            pipeline,
            offset,
            count,
            idempotent: true,
        }))
    }

    fn get_db(&self) -> i64 {
        self.db.db()
    }
}
