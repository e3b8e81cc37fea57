//! `spend_batches`: what has been applied, and the one transaction that applies it.
//!
//! The id of a batch and its content are written in the same transaction. So a batch is in the
//! sums if and only if its id is in this table, and handing the same batch over again, by whatever
//! road and after whatever failure, adds nothing. No caller needs to find out how a lost
//! connection ended: it asks again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::batch::{BatchId, SealedBatch};
use super::dialect::{self, CountKey, MinuteKey, bigint};
use super::error::Error;
use super::pool::Pool;
use super::schema::spend_batches;
use super::{Store, sqlite};
use crate::domain::TokenCounts;

/// What a call to [`Store::apply`] did. Every batch it was given is in the database now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Batches it added.
    pub fresh: usize,
    /// Batches that had been added before.
    pub known: usize,
}

impl Store {
    /// Which of `ids` have been applied.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn applied(&self, ids: &[BatchId]) -> Result<HashSet<BatchId>, Error> {
        match &*self.pool {
            Pool::Sqlite(database) => known(&mut *database.reader().await?, ids).await,
        }
    }

    /// Adds those of `batches` that have not been added before, all in one transaction.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn apply(&self, batches: &[Arc<SealedBatch>]) -> Result<Applied, Error> {
        match &*self.pool {
            Pool::Sqlite(database) => {
                let mut writer = database.writer().await?;
                // Immediate: a transaction that first reads and then wants to write is refused at
                // once when another program writes meanwhile, however long the busy timeout.
                let outcome = writer
                    .connection
                    .immediate_transaction(async |connection| apply(connection, batches).await)
                    .await;
                database.settle(writer, outcome)
            }
        }
    }
}

async fn apply(
    connection: &mut sqlite::Connection,
    batches: &[Arc<SealedBatch>],
) -> Result<Applied, Error> {
    let ids: Vec<BatchId> = batches.iter().map(|batch| batch.id).collect();
    let mut seen = known(connection, &ids).await?;
    // What is inserted also guards against one id twice in the same call.
    let fresh: Vec<&SealedBatch> = batches
        .iter()
        .map(AsRef::as_ref)
        .filter(|batch| seen.insert(batch.id))
        .collect();
    let applied = Applied {
        fresh: fresh.len(),
        known: batches.len() - fresh.len(),
    };
    if fresh.is_empty() {
        return Ok(applied);
    }
    // A plain insert: should another writer have inserted one of them since we looked, it fails, the
    // transaction with it, and the next attempt sees the id. No "insert or ignore" is needed.
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| bigint(since.as_secs()));
    let fresh_ids: Vec<BatchId> = fresh.iter().map(|batch| batch.id).collect();
    dialect::add_ids(connection, &fresh_ids, now).await?;
    let mut counts: BTreeMap<CountKey<'_>, TokenCounts> = BTreeMap::new();
    let mut minutes: BTreeMap<MinuteKey<'_>, TokenCounts> = BTreeMap::new();
    for row in fresh.iter().flat_map(|batch| &batch.rows) {
        *counts.entry((&row.endpoint, &row.model)).or_default() += row.tokens;
        *minutes
            .entry((&row.endpoint, &row.model, row.minute))
            .or_default() += row.tokens;
    }
    let counts: Vec<_> = counts.into_iter().collect();
    let minutes: Vec<_> = minutes.into_iter().collect();
    dialect::add_counts(connection, &counts).await?;
    dialect::add_minutes(connection, &minutes).await?;
    Ok(applied)
}

async fn known(
    connection: &mut sqlite::Connection,
    ids: &[BatchId],
) -> Result<HashSet<BatchId>, Error> {
    let mut by_producer: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for id in ids {
        by_producer
            .entry(id.producer)
            .or_default()
            .push(bigint(id.seq));
    }
    let mut known = HashSet::new();
    for (producer, seqs) in by_producer {
        let found: Vec<i64> = spend_batches::table
            .select(spend_batches::seq)
            .filter(spend_batches::producer.eq(producer.to_string()))
            .filter(spend_batches::seq.eq_any(seqs))
            .load(connection)
            .await?;
        known.extend(found.into_iter().map(|seq| BatchId {
            producer,
            seq: seq.unsigned_abs(),
        }));
    }
    Ok(known)
}
