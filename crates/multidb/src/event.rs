//! What happened, as a stream anyone may listen to.

use std::sync::Arc;

use super::circuit::CircuitState;
use super::database::Database;

/// Why the active database changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SwitchReason {
    /// The client started.
    Initial,
    /// The active one's circuit opened (redis-py: `automatic`).
    Failover,
    /// A heavier one is healthy again (redis-py: `automatic`).
    Fallback,
    /// `set_active_database` (redis-py: `manual`).
    Manual,
    /// `force_active_database` (redis-py: `manual`).
    Forced,
    /// The active one was removed, or a weight changed (redis-py: `manual`).
    Reconfigured,
    /// There was none, and now there is one again.
    Recovered,
}

impl SwitchReason {
    /// A label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Failover => "failover",
            Self::Fallback => "fallback",
            Self::Manual => "manual",
            Self::Forced => "forced",
            Self::Reconfigured => "reconfigured",
            Self::Recovered => "recovered",
        }
    }
}

/// Something worth knowing. Order within one receiver is the order of the decisions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Another database takes the commands now, or none does.
    ActiveDatabaseChanged {
        /// Which did; `None`: none.
        old: Option<Database>,
        /// Which does; `None`: none.
        new: Option<Database>,
        /// Why.
        reason: SwitchReason,
    },
    /// A database went up or down.
    CircuitChanged {
        /// Which.
        database: Database,
        /// From.
        from: CircuitState,
        /// To.
        to: CircuitState,
        /// What was seen.
        cause: Arc<str>,
    },
    /// A command failed in a way that counts against the database (redis-py's
    /// `OnCommandsFailEvent`).
    CommandsFailed {
        /// Where.
        database: Database,
        /// Names of the commands, not their arguments.
        commands: Arc<str>,
        /// How it failed.
        error: Arc<str>,
    },
    /// No database can take commands. [`Event::ActiveDatabaseChanged`] says when that ends.
    AllDatabasesUnavailable,
    /// A database was added.
    DatabaseAdded(Database),
    /// A database was removed.
    DatabaseRemoved(Database),
    /// Subscriptions moved or were interrupted: what was published in between may be missing.
    #[cfg(feature = "pubsub")]
    PubSubGap {
        /// Where the stream came from.
        from: Option<Database>,
        /// Where it comes from now.
        to: Option<Database>,
        /// Why.
        cause: Arc<str>,
    },
}
