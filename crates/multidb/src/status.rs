//! The status of all databases: a view, rebuilt whole by its owner whenever something changed.

use tokio::time::Instant;

use super::circuit::CircuitState;
use super::database::{Database, DatabaseId};

/// All databases at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Heaviest first, of equals the earlier added.
    pub databases: Vec<DatabaseStatus>,
    /// Which takes the commands.
    pub active: Option<DatabaseId>,
    /// Since when that is so.
    pub since: Instant,
}

/// One database at one moment.
#[derive(Clone, Debug)]
pub struct DatabaseStatus {
    /// Which.
    pub database: Database,
    /// Its weight.
    pub weight: f64,
    /// Whether it is trusted.
    pub circuit: CircuitState,
    /// Since when the circuit is so.
    pub circuit_since: Instant,
    /// Whether it takes the commands.
    pub active: bool,
    /// Whether there is a connection for commands.
    pub connected: bool,
    /// Failures the detectors counted since it was added.
    pub failures: u64,
    /// The last health check.
    pub last_health: Option<HealthStatus>,
}

/// How the last health check ended.
#[derive(Clone, Debug)]
pub struct HealthStatus {
    /// When it ended.
    pub at: Instant,
    /// `None`: healthy. Else what the first failing check said.
    pub unhealthy: Option<String>,
    /// What a failback-only check said, if it prevents a return to this database.
    pub failback_refused: Option<String>,
}

impl Status {
    /// The active database.
    pub fn active(&self) -> Option<&DatabaseStatus> {
        self.databases.iter().find(|database| database.active)
    }

    /// One of them.
    pub fn database(&self, id: DatabaseId) -> Option<&DatabaseStatus> {
        self.databases
            .iter()
            .find(|status| status.database.id == id)
    }
}
