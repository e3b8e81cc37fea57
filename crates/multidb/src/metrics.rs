//! What is counted. Plain numbers, to be mapped to whatever a program measures with.

use std::sync::atomic::{AtomicU64, Ordering};

use super::circuit::CircuitState;
use super::database::Database;
use super::event::SwitchReason;
use super::outcome::FailureKind;
use super::views::Views;

/// All counters at one moment. They only ever rise, except where said.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By database, those of removed ones not included.
    pub databases: Vec<DatabaseMetrics>,
    /// Changes of the active database, by from, to and why (redis-py's
    /// `redis.client.geofailover.failovers`), those from and to removed ones not included.
    pub switches: Vec<(Switch, u64)>,
    /// Commands repeated.
    pub retries: u64,
    /// Commands that ended with their outcome unknown.
    pub outcomes_unknown: u64,
    /// Commands that found no database, temporarily or not.
    pub unavailable: u64,
    /// Commands refused because a shared handle does not support them.
    pub unsupported: u64,
    /// Gauge: what has happened and was not decided about yet.
    pub decisions_waiting: u64,
}

/// From, to, why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Switch {
    /// Which was active.
    pub from: Option<Database>,
    /// Which became it.
    pub to: Option<Database>,
    /// Why.
    pub reason: SwitchReason,
}

/// The counters of one database.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    /// Which.
    pub database: Database,
    /// Gauge: whether it takes the commands.
    pub active: bool,
    /// Gauge: whether it is trusted.
    pub circuit: CircuitState,
    /// Gauge.
    pub weight: f64,
    /// Commands and pipelines it answered.
    pub successes: u64,
    /// Commands and pipelines that count against it, by kind.
    pub failures: Vec<(FailureKind, u64)>,
    /// Connections made for commands.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Health rounds that found it healthy.
    pub healthy_rounds: u64,
    /// Health rounds that did not.
    pub unhealthy_rounds: u64,
}

impl Metrics {
    pub(crate) fn of(views: &Views, decisions_waiting: u64) -> Self {
        let status = views.status.load_full();
        let databases = status.databases.iter().filter_map(|shown| {
            let member = views.member(shown.database.id)?;
            let stats = member.stats();
            Some(DatabaseMetrics {
                database: shown.database.clone(),
                active: shown.active,
                circuit: shown.circuit,
                weight: shown.weight,
                successes: stats.successes.get(),
                failures: stats.failures(),
                connects: stats.connects.get(),
                connect_failures: stats.connect_failures.get(),
                healthy_rounds: stats.healthy_rounds.get(),
                unhealthy_rounds: stats.unhealthy_rounds.get(),
            })
        });
        let counters = &views.counters;
        Self {
            databases: databases.collect(),
            switches: views.switches.load().to_vec(),
            retries: counters.retries.get(),
            outcomes_unknown: counters.outcomes_unknown.get(),
            unavailable: counters.unavailable.get(),
            unsupported: counters.unsupported.get(),
            decisions_waiting,
        }
    }
}

/// A number that rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
