//! One database and the connections to it.
//!
//! Owns how a connection is made ([`Dialer`]), what it is afterwards ([`Wire`]), and keeping one for
//! commands up ([`connector`]). Decides nothing about trust: it reports what it saw, and drops a connection
//! when told to.
//!
//! The connection is driven here and not by the driver's own task, for two things it does not report:
//! *that* a connection ended, the moment it did and without a command having to find out; and that
//! nothing handed over after that can have reached the server. And for one it cannot do: dropping the
//! task answers every command still waiting on a lost connection at once.

mod cluster;
pub(crate) mod connector;
mod dial;
mod sentinel;
mod stats;
mod stream;
#[cfg(feature = "pubsub")]
mod subscribe;
pub(crate) mod tls;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::circuit::Trials;
use super::config::{DatabaseConfig, Invalid};
use super::database::{Database, DatabaseId};
pub(crate) use dial::{Dialed, Dialer, Timeouts};
pub(crate) use sentinel::role;
pub(crate) use stats::Stats;
pub(crate) use wire::Wire;

/// One database.
#[derive(Debug)]
pub struct Member {
    database: Database,
    dialer: Dialer,
    health_check_url: Option<String>,
    stats: Stats,
    trials: Arc<Trials>,
}

impl Member {
    pub(crate) fn new(
        id: DatabaseId,
        config: &DatabaseConfig,
        timeouts: Timeouts,
    ) -> Result<Self, Invalid> {
        let name = config.name.clone().unwrap_or_else(|| config.server.name());
        Ok(Self {
            dialer: Dialer::new(config, timeouts).map_err(|error| Invalid::Address {
                name: name.clone(),
                reason: error.to_string(),
            })?,
            database: Database {
                id,
                name: name.into(),
            },
            health_check_url: config.health_check_url.clone(),
            stats: Stats::default(),
            trials: Arc::default(),
        })
    }

    pub(crate) fn id(&self) -> DatabaseId {
        self.database.id
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(crate) fn health_check_url(&self) -> Option<&str> {
        self.health_check_url.as_deref()
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(crate) fn trials(&self) -> &Arc<Trials> {
        &self.trials
    }
}

/// One connection for commands, from its handshake to its end.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    wire: Wire,
    over: AtomicBool,
}

/// Counted up per database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId(pub(crate) u64);

impl Link {
    fn new(id: LinkId, wire: Wire) -> Self {
        Self {
            id,
            wire,
            over: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> LinkId {
        self.id
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Whether nothing can be sent over it any more: what would be sent now certainly is not.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
    }
}
