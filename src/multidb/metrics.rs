//! What is counted. Plain numbers, to be mapped to whatever a program measures with.

use std::sync::atomic::{AtomicU64, Ordering};

use super::circuit::CircuitState;
use super::database::Database;
use super::event::SwitchReason;
use super::outcome::FailureKind;

/// All counters at one moment. They only ever rise, except where said.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By database, those of removed ones not included.
    pub databases: Vec<DatabaseMetrics>,
    /// Changes of the active database, by whence, whither and why (redis-py's
    /// `redis.client.geofailover.failovers`).
    pub switches: Vec<(Switch, u64)>,
    /// Commands repeated.
    pub retries: u64,
    /// Commands that ended with their outcome unknown.
    pub outcomes_unknown: u64,
    /// Commands that found no database, temporarily or not.
    pub unavailable: u64,
    /// Commands refused because a shared handle cannot carry them.
    pub unsupported: u64,
    /// Events nobody had room for are not counted; messages to the decision maker waiting now.
    pub decisions_waiting: u64,
}

/// From, to, why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Switch {
    /// Who was active.
    pub from: Option<Database>,
    /// Who became it.
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
    /// Commands and pipelines that speak against it, by kind.
    pub failures: Vec<(FailureKind, u64)>,
    /// Connections made for commands.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Health rounds that found it well.
    pub healthy_rounds: u64,
    /// Health rounds that did not.
    pub unhealthy_rounds: u64,
}

/// A number that rises.
#[derive(Debug, Default)]
pub(in crate::multidb) struct Counter(AtomicU64);

impl Counter {
    pub(in crate::multidb) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::multidb) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
