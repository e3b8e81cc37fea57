//! One server's state, shared by its connections.
//!
//! Nothing here is locked: what changes is replaced whole (catalogue, faults), counted (totals) or
//! owned by the loader's task; this only holds them together.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::name::ModelName;

use super::api::BlobStore;
use super::catalogue::Catalogue;
use super::clock::Clock;
use super::counters::Totals;
use super::fault::{Fault, Plan, Rule, Stage};
use super::scheduler::Scheduler;
use super::wire::ListenSocket;
use super::{Config, Counters, Model};

/// See the module.
pub struct Node {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub catalogue: ArcSwap<Catalogue>,
    /// What `/api/version` says.
    pub version: ArcSwap<String>,
    pub faults: Arc<Plan>,
    pub scheduler: Scheduler,
    pub blob_store: BlobStore,
    pub totals: Arc<Totals>,
    pub listen_socket: ListenSocket,
    /// Connections of the main port: what a restart cuts.
    pub connections: TaskTracker,
    /// Everything else.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    generations: AtomicU64,
}

impl Node {
    pub fn new(config: Config, listen_socket: ListenSocket) -> Self {
        let config = Arc::new(config);
        let clock = Clock::start(unix_nanos() + i128::from(config.clock_skew) * 1_000_000_000);
        let faults = Arc::new(Plan::default());
        let totals = Arc::new(Totals::default());
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        Self {
            catalogue: ArcSwap::from_pointee(Catalogue::new(&config.models, &config)),
            version: ArcSwap::from_pointee(config.version.clone()),
            scheduler: Scheduler::start(&config, clock, &faults, &totals, &tasks, stop.clone()),
            blob_store: BlobStore::default(),
            connections: TaskTracker::new(),
            generations: AtomicU64::new(0),
            config,
            clock,
            faults,
            totals,
            listen_socket,
            tasks,
            stop,
        }
    }

    /// The number of the next generation, from 1.
    pub fn number(&self) -> u64 {
        self.generations.fetch_add(1, Relaxed) + 1
    }

    /// Adds a model, or replaces the one of its name.
    pub fn add_model(&self, model: &Model) {
        self.catalogue
            .rcu(|catalogue| catalogue.with(model, &self.config));
    }

    /// Removes a model from the catalogue. A runner of it stays until it expires.
    pub fn remove_model(&self, name: &ModelName) {
        self.catalogue.rcu(|catalogue| catalogue.without(name));
    }

    /// Replaces all models; the counters of the old ones stay.
    pub fn set_models(&self, models: &[Model]) {
        self.catalogue.rcu(|catalogue| {
            models.iter().fold(catalogue.emptied(), |next, model| {
                next.with(model, &self.config)
            })
        });
    }

    /// Switches a fault on; from now on, when this returns.
    pub fn fault(&self, rule: Rule) {
        if rule.fault == Fault::Refuse {
            self.listen_socket.close();
        } else {
            self.faults.add(rule);
        }
    }

    /// Switches all faults off, and listens again where it refused.
    pub fn clear_faults(&self) -> std::io::Result<()> {
        self.faults.clear();
        self.listen_socket.open()
    }

    /// Stops as if killed and starts again on the same port after `pause`, with nothing loaded.
    pub async fn restart(&self, pause: Duration) -> std::io::Result<()> {
        self.listen_socket.close();
        self.connections.close();
        self.connections.wait().await;
        self.connections.reopen();
        self.scheduler.clear().await;
        sleep(pause).await;
        self.listen_socket.open()
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        let catalogue = self.catalogue.load_full();
        let models = catalogue
            .stats()
            .map(|(name, stats)| (name.to_string(), stats.as_ref()));
        self.totals.snapshot(models)
    }

    /// Applies the faults that are switched on for requests that have just been read: of any model,
    /// or, once it is known, of this one.
    pub async fn apply_arrival_faults(&self, model: Option<&ModelName>) {
        match self.faults.take(Stage::Arrival, model) {
            Some(Fault::Silent) => pending().await,
            Some(Fault::SlowHeaders { delay }) => sleep(delay).await,
            _ => {}
        }
    }

    /// Delays a list, or says that it is refused, if such a fault is switched on.
    pub async fn refuses_list(&self, stage: Stage) -> bool {
        match self.faults.take(stage, None) {
            Some(Fault::StallPs { delay } | Fault::StallTags { delay }) => {
                sleep(delay).await;
                false
            }
            Some(Fault::ForbidPs | Fault::ForbidTags) => true,
            _ => false,
        }
    }
}

fn unix_nanos() -> i128 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a server apart from the product, with a clock of its own"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or_default()
}
