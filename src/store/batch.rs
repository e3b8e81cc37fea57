//! The unit in which usage is written to the database: sealed, numbered, never changed again.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::limits;
use crate::domain::{EntityKind, TokenCounts};

/// What makes a batch the same batch, wherever and however often it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    /// Who sealed it: a new one at every start of a process.
    pub producer: Uuid,
    /// Its number with that producer, from 1, without gaps.
    pub seq: u64,
}

impl BatchId {
    /// Whether any producer gives out this number, and any database keeps it.
    #[must_use]
    pub fn is_possible(self) -> bool {
        (1..=limits::LARGEST.unsigned_abs()).contains(&self.seq)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.producer, self.seq)
    }
}

/// Everything one model on one endpoint used in one minute, within one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The canonical model name.
    pub model: Arc<str>,
    /// Unix seconds at the full minute.
    pub minute: i64,
    /// The sum.
    pub tokens: TokenCounts,
}

/// What was spent. Never negative: what is given back is an account of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpendSums {
    /// Money, in billionths of a US dollar.
    pub nano_usd: u64,
    /// Tokens read.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
    /// Answered requests.
    pub requests: u64,
}

/// What one entity spent in one of its budget periods, within one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// What the entity is.
    pub kind: EntityKind,
    /// Which one.
    pub entity: Arc<str>,
    /// When its budget's period began, in Unix seconds, so that late spend is added to its own; 0 for
    /// an entity whose budget has no period.
    pub period: i64,
    /// The sum.
    pub spent: SpendSums,
}

/// What one entity spent on one day by one key with one model on one endpoint, within one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyRow {
    /// What the entity is.
    pub kind: EntityKind,
    /// Which one.
    pub entity: Arc<str>,
    /// Any moment of the day, in Unix seconds; days are UTC.
    pub at: i64,
    /// The SHA-256 of the key, or empty.
    pub api_key: Arc<str>,
    /// The canonical model name.
    pub model: Arc<str>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The sum.
    pub spent: SpendSums,
    /// Requests that got no answer.
    pub failed_requests: u64,
}

/// Usage under one [`BatchId`]. Two batches with one id have the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// Its identity in the database.
    pub id: BatchId,
    /// Tokens by endpoint, model and minute, sorted so, each such key once.
    pub rows: Vec<BatchRow>,
    /// Spend by entity and period. Keys may repeat and come in any order.
    pub spend: Vec<SpendRow>,
    /// Spend by entity and day. Keys may repeat and come in any order.
    pub daily: Vec<DailyRow>,
    /// How many requests are in it.
    pub records: u64,
    /// When the first of them ended, in Unix seconds.
    pub oldest: i64,
}

impl SealedBatch {
    /// One without content, to be filled.
    #[must_use]
    pub const fn empty(id: BatchId) -> Self {
        Self {
            id,
            rows: Vec::new(),
            spend: Vec::new(),
            daily: Vec::new(),
            records: 0,
            oldest: 0,
        }
    }

    /// Rows in it for all tables: what it costs to keep, and to write.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len() + self.spend.len() + self.daily.len()
    }
}
