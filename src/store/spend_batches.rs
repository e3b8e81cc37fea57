//! `spend_batches`: which batches have been applied.
//!
//! The id of a batch and its content are written in the same transaction. So a batch is in the
//! sums if and only if its id is in this table, or below its producer's high-water mark, and handing the
//! same batch over again, by whatever path and after whatever failure, adds nothing. No caller needs
//! to find out what became of a call whose connection was lost: it repeats it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::Store;
use super::batch::{BatchId, SealedBatch};
use super::dialect::{Dialect, Merge, Rows, Table, Value};
use super::error::Error;
use super::limits;
use super::pool::reading;
use super::spend_producers::HighWaterMarks;

const TABLE: Table = Table {
    name: "spend_batches",
    key: &["producer", "seq"],
    // Under its producer's lock nobody else can have written it since we looked. Should that ever be
    // wrong, the transaction fails, and the next attempt sees the id.
    values: &[("applied_at", Merge::Refuse), ("records", Merge::Refuse)],
};

/// Numbers asked for with one statement.
const MOST: usize = 500;

/// InnoDB writes its log with each commit, and in any case once a second.
const ON_DISK: Duration = Duration::from_millis(1_500);

impl Store {
    /// Which of `ids` have been applied.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn applied(&self, ids: &[BatchId]) -> Result<HashSet<BatchId>, Error> {
        reading!(self, |conn| applied(conn, ids))
    }

    /// Which of `ids` have been applied, and will have been after the database crashes at this moment:
    /// only then may what is known of them elsewhere be forgotten.
    ///
    /// InnoDB shows a commit to others a little before its log is on the disk, so there what is seen
    /// once is looked at again when that has long been done.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn applied_for_good(&self, ids: &[BatchId]) -> Result<HashSet<BatchId>, Error> {
        let seen = self.applied(ids).await?;
        if seen.is_empty() || !self.pool.shows_commits_early() {
            return Ok(seen);
        }
        sleep(ON_DISK).await;
        let seen: Vec<BatchId> = seen.into_iter().collect();
        self.applied(&seen).await
    }
}

async fn applied<C: Dialect>(
    connection: &mut C,
    ids: &[BatchId],
) -> Result<HashSet<BatchId>, Error> {
    // In this order. A batch that is pruned between the two questions was there for the first one.
    let mut found = listed(connection, ids).await?;
    let mut marks = HighWaterMarks::new();
    for id in ids {
        if found.contains(id) || marks.contains_key(&id.producer) {
            continue;
        }
        let name = id.producer.to_string();
        let ask = "SELECT high_water FROM spend_producers WHERE producer = ?";
        let mark = connection.numbers(ask, &[Value::Text(&name)]).await?;
        let mark = mark.first().copied().unwrap_or_default();
        marks.insert(id.producer, mark.unsigned_abs());
    }
    found.extend(below(ids, &marks));
    Ok(found)
}

/// Those of `ids` that are known by their number alone.
pub(super) fn below<'a>(
    ids: &'a [BatchId],
    marks: &'a HighWaterMarks,
) -> impl Iterator<Item = BatchId> + 'a {
    let mark = |id: &BatchId| marks.get(&id.producer).copied().unwrap_or_default();
    ids.iter().copied().filter(move |id| id.seq <= mark(id))
}

/// Those of `ids` that have a row.
pub(super) async fn listed<C: Dialect>(
    connection: &mut C,
    ids: &[BatchId],
) -> Result<HashSet<BatchId>, Error> {
    let mut by_producer: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
    for id in ids {
        let seq = limits::number(id.seq).map_err(Error::Poison)?;
        by_producer.entry(id.producer).or_default().push(seq);
    }
    let mut listed = HashSet::new();
    for (producer, seqs) in by_producer {
        let name = producer.to_string();
        for seqs in seqs.chunks(MOST) {
            let ask = format!(
                "SELECT seq FROM spend_batches WHERE producer = ? AND seq IN ({})",
                vec!["?"; seqs.len()].join(",")
            );
            let numbers = seqs.iter().copied().map(Value::Number);
            let values: Vec<_> = std::iter::once(Value::Text(&name)).chain(numbers).collect();
            let found = connection.numbers(&ask, &values).await?;
            listed.extend(found.into_iter().map(|seq| BatchId {
                producer,
                seq: seq.unsigned_abs(),
            }));
        }
    }
    Ok(listed)
}

/// Adds the rows of `batches`, which have none.
pub(super) async fn list<C: Dialect>(
    connection: &mut C,
    batches: &[Arc<SealedBatch>],
    now: i64,
) -> Result<(), Error> {
    let mut batches: Vec<_> = batches.iter().map(|one| (one.id, one.records)).collect();
    batches.sort_unstable();
    let name = |(id, _): &(BatchId, u64)| id.producer.to_string();
    let names: Vec<String> = batches.iter().map(name).collect();
    let mut rows = Vec::with_capacity(batches.len());
    for ((id, records), name) in batches.into_iter().zip(&names) {
        let seq = limits::number(id.seq).map_err(Error::Poison)?;
        let records = limits::number(records).map_err(Error::Poison)?;
        rows.push(([Value::Text(name), Value::Number(seq)], [now, records]));
    }
    connection.add(&Rows::new(&TABLE, &rows)).await
}

/// The last of `later`, which are sorted, that follows `before` without a gap.
pub(super) fn contiguous(before: i64, later: &[i64]) -> i64 {
    let mut last = before;
    for seq in later {
        if *seq != last + 1 {
            break;
        }
        last = *seq;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_what_is_contiguous() {
        assert_eq!(contiguous(0, &[1, 2, 3, 5, 6]), 3);
        assert_eq!(contiguous(0, &[2, 3]), 0);
        assert_eq!(contiguous(7, &[8]), 8);
        assert_eq!(contiguous(7, &[]), 7);
    }
}
