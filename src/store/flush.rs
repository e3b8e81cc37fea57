//! The one transaction that brings batches into the tables.
//!
//! In this order, on every database and in every process, so that any number of writers wait for
//! one another and never deadlock: the fence, the producers, the ids, then table by table, each
//! sorted by key. Everything is committed together or not at all, and the ids are part of
//! everything. Therefore a commit whose answer was lost is simply an error: repeating the
//! call either finds the ids or does the work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::batch::{BatchId, SealedBatch};
use super::dead_letters::{self, DeadLetter};
use super::dialect::{Dialect, Rows};
use super::error::Error;
use super::flush_leader::{self, Fence};
use super::offload::offload;
use super::pool::transaction;
use super::{
    Store, daily_spend, limits, spend, spend_batches, spend_producers, time_series, token_counts,
};
use crate::clock;

/// What is to be written at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flush<'a> {
    /// Those that were applied before are skipped.
    pub batches: &'a [Arc<SealedBatch>],
    /// Who leads; `None` for a router that writes only what it sealed itself.
    pub fence: Option<&'a Fence>,
    /// What could not be applied of these batches. Skipped with its batch.
    pub letters: &'a [DeadLetter],
}

/// What a call to [`Store::apply`] did. Every batch it was given is in the database now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Batches it added.
    pub fresh: usize,
    /// Batches that had been added before.
    pub known: usize,
}

impl Store {
    /// Writes all of `flush` in one transaction.
    ///
    /// Run it in a task of its own: whoever drops the future half-way does not know how it ended.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did. Repeating it is safe.
    /// [`Error::Poison`] only when the content is at fault; which part of it can be found by
    /// trying parts with [`Store::dry_run`].
    pub async fn apply(&self, flush: Flush<'_>) -> Result<Applied, Error> {
        let dates = dates(flush.batches);
        let work = Prepared::from(&flush, &dates)?;
        let applied = transaction!(self, "COMMIT", |conn| write(conn, &flush, &work))?;
        if applied.known > 0 && self.pool.shows_commits_early() {
            // Nothing of those was ours to commit.
            let ids: Vec<BatchId> = flush.batches.iter().map(|batch| batch.id).collect();
            let there = self.applied_for_good(&ids).await?;
            if ids.iter().any(|id| !there.contains(id)) {
                let why = "what somebody else had written is gone again";
                return Err(Error::Contended(why.to_owned()));
            }
        }
        Ok(applied)
    }

    /// Does all that [`Store::apply`] does, and takes it back.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub async fn dry_run(&self, flush: Flush<'_>) -> Result<Applied, Error> {
        let dates = dates(flush.batches);
        let work = Prepared::from(&flush, &dates)?;
        transaction!(self, "ROLLBACK", |conn| write(conn, &flush, &work))
    }
}

/// What can be done before anybody has to wait for it.
struct Prepared<'a> {
    /// In Unix seconds.
    now: i64,
    /// What all of the batches add.
    additions: Additions<'a>,
}

impl<'a> Prepared<'a> {
    /// Refuses what no database would take.
    fn from(flush: &Flush<'a>, dates: &'a Dates) -> Result<Self, Error> {
        let additions = offload(rows_of(flush.batches), || {
            for batch in flush.batches {
                limits::check(batch)?;
            }
            additions(flush.batches, dates)
        })?;
        Ok(Self {
            now: clock::unix_seconds(),
            additions,
        })
    }
}

async fn write<C: Dialect>(
    connection: &mut C,
    flush: &Flush<'_>,
    work: &Prepared<'_>,
) -> Result<Applied, Error> {
    if let Some(fence) = flush.fence {
        flush_leader::pass(connection, fence).await?;
    }
    let ids: Vec<BatchId> = flush.batches.iter().map(|batch| batch.id).collect();
    if ids.is_empty() {
        dead_letters::add(connection, flush.letters.iter()).await?;
        return Ok(Applied::default());
    }
    let producers: BTreeSet<_> = ids.iter().map(|id| id.producer).collect();
    let marks = spend_producers::lock(connection, &producers, work.now).await?;
    let mut seen = spend_batches::listed(connection, &ids).await?;
    seen.extend(spend_batches::below(&ids, &marks));
    // What is inserted also guards against one id twice in the same call.
    let fresh: Vec<Arc<SealedBatch>> = flush
        .batches
        .iter()
        .filter(|batch| seen.insert(batch.id))
        .cloned()
        .collect();
    spend_batches::list(connection, &fresh, work.now).await?;
    if fresh.len() == flush.batches.len() {
        add(connection, &work.additions).await?;
    } else {
        let dates = dates(&fresh);
        let additions = offload(rows_of(&fresh), || additions(&fresh, &dates))?;
        add(connection, &additions).await?;
    }
    // Whoever applied a batch before has written what was left of it, too.
    let is_fresh = |id: BatchId| !seen.contains(&id) || fresh.iter().any(|batch| batch.id == id);
    let letters = flush.letters.iter();
    dead_letters::add(connection, letters.filter(|letter| is_fresh(letter.batch))).await?;
    Ok(Applied {
        fresh: fresh.len(),
        known: flush.batches.len() - fresh.len(),
    })
}

/// Table by table.
type Additions<'a> = [Rows<'a>; 5];

/// See [`daily_spend::dates`].
type Dates = BTreeMap<i64, String>;

fn dates(batches: &[Arc<SealedBatch>]) -> Dates {
    daily_spend::dates(batches.iter().flat_map(|batch| &batch.daily))
}

fn additions<'a>(
    batches: &'a [Arc<SealedBatch>],
    dates: &'a Dates,
) -> Result<Additions<'a>, Error> {
    let tokens = || batches.iter().flat_map(|batch| &batch.rows);
    let spent = || batches.iter().flat_map(|batch| &batch.spend);
    let days = batches.iter().flat_map(|batch| &batch.daily);
    Ok([
        token_counts::additions(tokens())?,
        time_series::additions(tokens())?,
        spend::totals(spent())?,
        spend::periods(spent())?,
        daily_spend::additions(days, dates)?,
    ])
}

async fn add<C: Dialect>(connection: &mut C, additions: &Additions<'_>) -> Result<(), Error> {
    for rows in additions {
        connection.add(rows).await?;
    }
    Ok(())
}

fn rows_of(batches: &[Arc<SealedBatch>]) -> usize {
    batches.iter().map(|batch| batch.row_count()).sum()
}
