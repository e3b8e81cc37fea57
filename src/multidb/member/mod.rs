//! One database and the way to it.
//!
//! Owns how a connection is made ([`Dialer`]), what it is afterwards ([`Wire`]), and keeping one for
//! commands up ([`keeper`]). Decides nothing about trust: it says what it saw, and drops a connection
//! when told to.
//!
//! The connection is driven here and not by the driver's own task, for two things it does not tell:
//! *that* a connection ended, the moment it did and without a command having to find out; and that
//! nothing handed over after that can have reached the server. And for one it cannot do: dropping the
//! task answers every command still waiting on a dead connection at once.

mod cluster;
mod dial;
pub(in crate::multidb) mod keeper;
mod sentinel;
mod stats;
mod stream;
pub(in crate::multidb) mod tls;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::circuit::Trials;
use super::config::{DatabaseConfig, Invalid};
use super::database::{Database, DatabaseId};
pub(in crate::multidb) use dial::{Dialed, Dialer, Timeouts};
pub(in crate::multidb) use sentinel::role;
pub(in crate::multidb) use stats::Stats;
pub(in crate::multidb) use wire::Wire;

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
    pub(in crate::multidb) fn new(
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

    pub(in crate::multidb) fn id(&self) -> DatabaseId {
        self.database.id
    }

    pub(in crate::multidb) fn database(&self) -> &Database {
        &self.database
    }

    pub(in crate::multidb) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(in crate::multidb) fn health_check_url(&self) -> Option<&str> {
        self.health_check_url.as_deref()
    }

    pub(in crate::multidb) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(in crate::multidb) fn trials(&self) -> &Arc<Trials> {
        &self.trials
    }
}

/// One connection for commands, from its greeting to its end.
#[derive(Debug)]
pub(in crate::multidb) struct Link {
    id: LinkId,
    wire: Wire,
    over: AtomicBool,
}

/// Counted up per database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::multidb) struct LinkId(pub(in crate::multidb) u64);

impl Link {
    fn new(id: LinkId, wire: Wire) -> Self {
        Self {
            id,
            wire,
            over: AtomicBool::new(false),
        }
    }

    pub(in crate::multidb) fn id(&self) -> LinkId {
        self.id
    }

    pub(in crate::multidb) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Whether nothing can be sent over it any more: what would be sent now certainly is not.
    pub(in crate::multidb) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
    }
}
