//! How to count, as whoever starts it wants it.

use std::path::PathBuf;
use std::time::Duration;

use super::stream::StreamLimits;

/// What must hold a record before [`super::Recorded`] resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: a crash of the process may lose what was not written yet.
    Memory,
    /// The operating system: survives `kill -9`.
    Journal,
    /// The disk: survives a loss of power.
    Fsync,
    /// The disk, and Redis, or, when Redis does not take it, the database: survives the machine. When
    /// neither does, the disk alone after [`Redis::accept_timeout`] and five seconds, and from then on at
    /// once until one does.
    Redis,
}

/// How to count.
#[derive(Clone, Debug)]
pub struct Options {
    /// The journal is in its subfolder `journal`.
    pub data_dir: PathBuf,
    /// What a request waits for.
    pub durability: Durability,
    /// How long a batch stays open. With [`Durability::Redis`], where requests wait for it, no longer
    /// than a few milliseconds.
    pub seal_interval: Duration,
    /// How long sealed batches gather before they are written to the database, and how often it is
    /// asked what it has.
    pub flush_interval: Duration,
    /// How large the journal may grow while the database is away: beyond it records are refused.
    pub journal_bytes: u64,
}

/// The path over Redis.
#[derive(Clone, Debug)]
pub struct Redis<C> {
    /// To whichever Redis is used now.
    pub connection: C,
    /// First part of every key.
    pub key_prefix: String,
    /// The name of this router, for operators who want to know which one leads.
    pub name: String,
    /// How long a router leads without renewing its lease.
    pub lease_ttl: Duration,
    /// How long Redis may refuse batches before they go straight to the database. Five seconds later
    /// requests do not wait for either any more.
    pub accept_timeout: Duration,
    /// How long Redis may keep a batch, while the database answers, before that goes straight there
    /// as well: its leader does not understand it, or there is none.
    pub give_up: Duration,
    /// How much it may hold.
    pub limits: StreamLimits,
}

impl<C> Redis<C> {
    /// With defaults: nothing waits longer than five seconds for Redis.
    pub fn new(connection: C, key_prefix: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            connection,
            key_prefix: key_prefix.into(),
            name: name.into(),
            lease_ttl: Duration::from_secs(10),
            accept_timeout: Duration::from_secs(5),
            give_up: Duration::from_secs(60),
            limits: StreamLimits::default(),
        }
    }
}
