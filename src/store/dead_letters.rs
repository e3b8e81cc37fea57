//! `dead_letters`: what no table would take, kept until an operator has handled it.
//!
//! A letter is written in the transaction that applies what is left of its batch, and only if that
//! applies it; so it is neither lost nor written twice, when the call is repeated. It is replayed as a
//! batch of its own, whose producer is the letter's id and whose number is 1: doing that twice adds
//! it once, like any other batch.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::Store;
use super::batch::BatchId;
use super::dialect::{Dialect, Value};
use super::error::Error;
use super::limits;
use super::pool::{read, reading, transaction};
use super::schema::dead_letters;

/// The most of a reason that is kept, in characters.
const REASON: usize = 2_000;

/// Letters that one statement names.
const MOST: usize = 500;

/// What is kept of something that could not be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own, made by whoever writes it of what it is about: written twice it is one letter.
    pub id: Uuid,
    /// The batch it was in.
    pub batch: BatchId,
    /// What the database said.
    pub reason: String,
    /// The record, as JSON.
    pub payload: String,
    /// When it was written, in Unix seconds.
    pub created_at: i64,
    /// When it was replayed, in Unix seconds.
    pub replayed_at: Option<i64>,
}

/// Adds those that are not there.
pub(super) async fn add<'a, C: Dialect>(
    connection: &mut C,
    letters: impl Iterator<Item = &'a DeadLetter>,
) -> Result<(), Error> {
    for letter in letters {
        let (id, producer) = (letter.id.to_string(), letter.batch.producer.to_string());
        let ask = "SELECT created_at AS number FROM dead_letters WHERE id = ?";
        if !connection
            .numbers(ask, &[Value::Text(&id)])
            .await?
            .is_empty()
        {
            // Written before by a call whose answer was lost.
            continue;
        }
        let reason: String = letter.reason.chars().take(REASON).collect();
        let insert = "INSERT INTO dead_letters (id, producer, seq, reason, payload, created_at) \
                      VALUES (?, ?, ?, ?, ?, ?)";
        let values = [
            Value::Text(&id),
            Value::Text(&producer),
            Value::Number(limits::number(letter.batch.seq).map_err(Error::Poison)?),
            // No text may hold a zero, and a reason may quote one that did.
            Value::Text(&reason.replace('\0', "\u{fffd}")),
            Value::Text(&letter.payload.replace('\0', "\u{fffd}")),
            Value::Number(letter.created_at),
        ];
        connection.run(insert, &values).await?;
    }
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = dead_letters)]
struct Row {
    id: String,
    producer: String,
    seq: i64,
    reason: String,
    payload: String,
    created_at: i64,
    replayed_at: Option<i64>,
}

impl Store {
    /// Keeps `letters`, without a batch to apply. Those that are kept already are left as they are.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn add_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        transaction!(self, "COMMIT", |conn| add(conn, letters.iter()))
    }

    /// The oldest letters, at most `limit`: all of them, or those that wait to be replayed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters(
        &self,
        waiting_only: bool,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.dead_letters_after(waiting_only, (i64::MIN, ""), limit)
            .await
    }

    /// The same, behind the letter that was written then and has this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_after(
        &self,
        waiting_only: bool,
        (written, id): (i64, &str),
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        // Every letter has been replayed after this, or never.
        let replayed_after = if waiting_only { i64::MAX } else { i64::MIN };
        let rows: Result<Vec<Row>, Error> = read!(self, |conn| dead_letters::table
            .select(Row::as_select())
            .filter(
                dead_letters::replayed_at
                    .is_null()
                    .or(dead_letters::replayed_at.gt(replayed_after))
            )
            .filter(
                dead_letters::created_at
                    .gt(written)
                    .or(dead_letters::created_at
                        .eq(written)
                        .and(dead_letters::id.gt(id)))
            )
            .order((dead_letters::created_at, dead_letters::id))
            .limit(i64::from(limit))
            .load(conn));
        Ok(rows?.into_iter().map(DeadLetter::from).collect())
    }

    /// One letter.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, Error> {
        let rows: Result<Vec<Row>, Error> = read!(self, |conn| dead_letters::table
            .select(Row::as_select())
            .filter(dead_letters::id.eq(id.to_string()))
            .load(conn));
        Ok(rows?.into_iter().map(DeadLetter::from).next())
    }

    /// How many letters wait to be replayed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_waiting(&self) -> Result<i64, Error> {
        read!(self, |conn| dead_letters::table
            .filter(dead_letters::replayed_at.is_null())
            .count()
            .get_result(conn))
    }

    /// Those of these letters that were written, replayed or not. Asked by the key, every second by
    /// every router: however many letters there are, it costs the same.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn letters(&self, ids: &[Uuid]) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        for ids in ids.chunks(MOST) {
            let names: Vec<String> = ids.iter().map(Uuid::to_string).collect();
            let rows: Result<Vec<Row>, Error> = read!(self, |conn| dead_letters::table
                .select(Row::as_select())
                .filter(dead_letters::id.eq_any(&names))
                .load(conn));
            letters.extend(rows?.into_iter().map(DeadLetter::from));
        }
        Ok(letters)
    }

    /// Notes that a letter has been replayed; `false` when it was before, or there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mark_replayed(&self, id: Uuid, at: i64) -> Result<bool, Error> {
        let id = id.to_string();
        let mark = "UPDATE dead_letters SET replayed_at = ? WHERE id = ? AND replayed_at IS NULL";
        let values = [Value::Number(at), Value::Text(&id)];
        let marked = transaction!(self, "COMMIT", |conn| conn.run(mark, &values))?;
        Ok(marked > 0)
    }

    /// When the letter was replayed that was first, before `before`, in Unix seconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn oldest_replayed(&self, before: i64) -> Result<Option<i64>, Error> {
        let ask = "SELECT replayed_at FROM dead_letters WHERE replayed_at < ? \
                   ORDER BY replayed_at LIMIT 1";
        let mut found = reading!(self, |conn| conn.numbers(ask, &[Value::Number(before)]))?;
        Ok(found.pop())
    }

    /// Deletes letters that were replayed before `before` (Unix seconds), some of them at a time. Returns how
    /// many. Their batches are known: no such letter is written again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_replayed(&self, before: i64) -> Result<u64, Error> {
        let gone = transaction!(self, "COMMIT", |conn| forget(conn, before))?;
        Ok(gone as u64)
    }
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    id: String,
}

async fn forget<C: Dialect>(connection: &mut C, before: i64) -> Result<usize, Error>
where
    Named: QueryableByName<C::Backend>,
{
    let ask = format!("SELECT id FROM dead_letters WHERE replayed_at < ? ORDER BY id LIMIT {MOST}");
    let old: Vec<Named> = connection.rows(&ask, &[Value::Number(before)]).await?;
    if old.is_empty() {
        return Ok(0);
    }
    let delete = format!(
        "DELETE FROM dead_letters WHERE id IN ({})",
        vec!["?"; old.len()].join(",")
    );
    let names: Vec<_> = old.iter().map(|letter| Value::Text(&letter.id)).collect();
    connection.run(&delete, &names).await
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.parse().unwrap_or_default(),
            batch: BatchId {
                producer: row.producer.parse().unwrap_or_default(),
                seq: row.seq.unsigned_abs(),
            },
            reason: row.reason,
            payload: row.payload,
            created_at: row.created_at,
            replayed_at: row.replayed_at,
        }
    }
}
