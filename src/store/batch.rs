//! The unit in which usage travels to the database: sealed, numbered, never changed again.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::TokenCounts;

/// What makes a batch the same batch, wherever and however often it turns up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    /// Who sealed it: a new one at every start of a process.
    pub producer: Uuid,
    /// Its number with that producer, from 1.
    pub seq: u64,
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

/// Usage under one [`BatchId`]. Two batches with one id have the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// Its identity in the database.
    pub id: BatchId,
    /// Sums, sorted by endpoint, model and minute, each such key once.
    pub rows: Vec<BatchRow>,
    /// How many requests are in it.
    pub records: u64,
    /// When the first of them ended, in Unix seconds.
    pub oldest: i64,
}
