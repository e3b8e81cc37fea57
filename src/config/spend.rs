//! `[spend]`: how usage reaches the database.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, size};

/// Durability and intervals.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Spend {
    /// What must hold a request's usage before its last byte is sent.
    pub durability: Durability,
    /// Longest time a batch stays open for more records.
    #[serde(with = "duration")]
    pub seal_interval: Duration,
    /// Between two writes to the database.
    #[serde(with = "duration")]
    pub flush_interval: Duration,
    /// How long the right to flush is held without renewal.
    #[serde(with = "duration")]
    pub lease_ttl: Duration,
    /// How large the journal may grow while the database takes nothing, in bytes.
    #[serde(with = "size")]
    pub journal_size: u64,
}

/// What survives which failure, from the least to the most durable.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The process's memory: nothing survives a crash of the process.
    Memory,
    /// The journal file, written to the kernel: survives a crash of the process.
    Journal,
    /// The journal file, on the disk: survives a crash of the machine.
    Fsync,
    /// Redis: survives the loss of the machine.
    Redis,
}

impl Default for Spend {
    fn default() -> Self {
        Self {
            durability: Durability::Journal,
            seal_interval: Duration::from_millis(200),
            flush_interval: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(10),
            // More than an hour of a thousand requests a second with six payers each.
            journal_size: 2 << 30,
        }
    }
}
