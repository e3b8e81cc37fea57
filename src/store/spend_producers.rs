//! `spend_producers`: up to which number each producer's batches have been applied.
//!
//! Two things in one row. It is the lock under which a producer's batches are applied: whoever
//! writes any of them writes this row first, so two who were handed the same batch do it one after
//! the other, and the second sees what the first has done. And it replaces old rows of `spend_batches`,
//! which would grow for ever: once all batches from the first to some number are there, the number
//! says as much as their rows, and they can go.
//!
//! Only what is contiguous is forgotten. A batch that comes an hour or a year late has a number
//! above the gap it left, or below the high-water mark and is known: age alone decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::dialect::{Dialect, Merge, Rows, Table, Value};
use super::error::Error;
use super::pool::{read, transaction};
use super::schema::{spend_batches, spend_producers};
use super::{Store, spend_batches as batches};

/// The highest number of each producer up to which everything has been applied.
pub(super) type HighWaterMarks = BTreeMap<Uuid, u64>;

const TABLE: Table = Table {
    name: "spend_producers",
    key: &["producer"],
    values: &[
        ("high_water", Merge::Keep),
        ("last_seen", Merge::Replace),
        ("records", Merge::Keep),
        ("records_through", Merge::Keep),
    ],
};

/// Numbers looked at with one statement.
const MOST: usize = 10_000;

/// Locks `producers` until the transaction ends, and says how far each of them has come.
pub(super) async fn lock<C: Dialect>(
    connection: &mut C,
    producers: &BTreeSet<Uuid>,
    now: i64,
) -> Result<HighWaterMarks, Error> {
    let names: Vec<String> = producers.iter().map(Uuid::to_string).collect();
    let rows: Vec<_> = names
        .iter()
        .map(|name| ([Value::Text(name)], [0, now, 0, 0]))
        .collect();
    connection.add(&Rows::new(&TABLE, &rows)).await?;
    // Each has a row now, and names sort as their bytes do.
    let ask = format!(
        "SELECT high_water FROM spend_producers WHERE producer IN ({}) ORDER BY producer",
        vec!["?"; names.len()].join(",")
    );
    let values: Vec<_> = names.iter().map(|name| Value::Text(name)).collect();
    let marks = connection.numbers(&ask, &values).await?;
    let marks = marks.into_iter().map(i64::unsigned_abs);
    Ok(producers.iter().copied().zip(marks).collect())
}

impl Store {
    /// Forgets the rows of `spend_batches` that say no more than a number does: those from a
    /// producer's first batch on without a gap, applied before `applied_before` (Unix seconds). The
    /// newer ones are kept for people who look. Returns how many rows went.
    ///
    /// # Errors
    /// When the database cannot be read or written. What was done before stays done.
    pub async fn prune_batches(&self, applied_before: i64) -> Result<u64, Error> {
        let (mut gone, mut last) = (0, String::new());
        while let Some((producer, oldest)) = self.oldest_after(&last).await? {
            last.clone_from(&producer);
            // What comes first is what can go first: nothing of this one's can.
            let mut more = oldest < applied_before;
            while more {
                let went = transaction!(self, "COMMIT", |conn| prune(
                    conn,
                    &producer,
                    applied_before
                ))?;
                gone += went as u64;
                more = went == MOST;
            }
        }
        Ok(gone)
    }

    /// The next producer with rows in `spend_batches`, by name, and when the first of its batches was
    /// applied. One step in the key, however long the list is.
    async fn oldest_after(&self, producer: &str) -> Result<Option<(String, i64)>, Error> {
        let found: Result<Vec<(String, i64)>, Error> = read!(self, |conn| spend_batches::table
            .select((spend_batches::producer, spend_batches::applied_at))
            .filter(spend_batches::producer.gt(producer))
            .order((spend_batches::producer, spend_batches::seq))
            .limit(1)
            .load(conn));
        Ok(found?.pop())
    }

    /// How far each producer has come, and when it was last seen, in Unix seconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn producers(&self) -> Result<Vec<(String, i64, i64)>, Error> {
        read!(self, |conn| spend_producers::table
            .select((
                spend_producers::producer,
                spend_producers::high_water,
                spend_producers::last_seen
            ))
            .order(spend_producers::producer)
            .load(conn))
    }
}

async fn prune<C: Dialect>(
    connection: &mut C,
    producer: &str,
    applied_before: i64,
) -> Result<usize, Error> {
    let name = Value::Text(producer);
    let lock = "UPDATE spend_producers SET last_seen = last_seen WHERE producer = ?";
    if connection.run(lock, &[name]).await? == 0 {
        // Written before this table was: the next batch of that producer makes its row.
        return Ok(0);
    }
    let ask = "SELECT high_water FROM spend_producers WHERE producer = ?";
    let before = connection
        .numbers(ask, &[name])
        .await?
        .pop()
        .unwrap_or_default();
    let ask = format!(
        "SELECT seq FROM spend_batches \
         WHERE producer = ? AND seq > ? AND applied_at < ? ORDER BY seq LIMIT {MOST}"
    );
    let values = [name, Value::Number(before), Value::Number(applied_before)];
    let later = connection.numbers(&ask, &values).await?;
    let after = batches::contiguous(before, &later);
    if after == before {
        return Ok(0);
    }
    // In this order: MySQL sees what it has set already. Another version may not have counted them, or
    // have raised the number without their sum, and then nobody knows how many they were.
    let raise = "UPDATE spend_producers SET records = CASE WHEN records_through = ? THEN records + \
         (SELECT CASE WHEN count(spend_batches.records) = count(*) \
              THEN sum(spend_batches.records) END FROM spend_batches \
          WHERE spend_batches.producer = ? AND spend_batches.seq > ? AND spend_batches.seq <= ?) END, \
         records_through = ?, high_water = ? WHERE producer = ?";
    let [from, to] = [before, after].map(Value::Number);
    let values = [from, name, from, to, to, to, name];
    connection.run(raise, &values).await?;
    let forget = "DELETE FROM spend_batches WHERE producer = ? AND seq <= ?";
    connection.run(forget, &[name, Value::Number(after)]).await
}
