//! Minutes that become days, and days that become one sum.
//!
//! A day is a row of the same table, at the day's first minute (UTC), and what is older than any day that is
//! kept is one at the first minute of 1970. So the sum over all rows of a model is what it was, in every state
//! that anybody can see. What comes late is a row of its own again, until the next fold adds it.
//!
//! Locks are taken in the order of the key, first the row that is added to and then those that go, as a flush
//! takes them: so both wait for one another and never deadlock. A flush may add a minute while a day is folded,
//! and therefore only those that were read and locked are deleted, by name.

use diesel::deserialize::QueryableByName;
use diesel::sql_types::BigInt;

use super::{BEFORE_ALL, TABLE};
use crate::store::Store;
use crate::store::dialect::{Dialect, Rows, Value};
use crate::store::error::Error;
use crate::store::limits;
use crate::store::pool::{reading, transaction};

/// In seconds.
const DAY: i64 = 86_400;

/// The days with minutes that are to be folded.
const DAYS: &str = "SELECT DISTINCT t.timestamp - t.timestamp % 86400 AS midnight FROM token_time_series t \
    WHERE t.endpoint = ? AND t.model = ? AND t.timestamp < ? AND t.timestamp % 86400 <> 0 ORDER BY midnight";

/// More than a day has minutes.
const MOST: usize = 1_440;

/// A row that goes.
#[derive(Clone, Copy, QueryableByName)]
struct Minute {
    #[diesel(sql_type = BigInt)]
    minute: i64,
    #[diesel(sql_type = BigInt)]
    input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    output_tokens: i64,
    #[diesel(sql_type = BigInt)]
    total_tokens: i64,
}

/// Whose minutes they are.
#[derive(Clone, Copy)]
struct Of<'a> {
    endpoint: &'a str,
    model: &'a str,
}

/// The rows later than `into` and before `end` are added to the one at `into`.
#[derive(Clone, Copy)]
struct Span {
    into: i64,
    end: i64,
}

impl Store {
    /// The days, by their first second, in which `model` has minutes before `before` on `endpoint`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn days_to_fold(
        &self,
        endpoint: &str,
        model: &str,
        before: i64,
    ) -> Result<Vec<i64>, Error> {
        let values = [
            Value::Text(endpoint),
            Value::Text(model),
            Value::Number(before),
        ];
        reading!(self, |conn| conn.numbers(DAYS, &values))
    }

    /// Adds the minutes before `before` to the rows of their days, of which there should be few: all in
    /// one transaction. Returns in how many of the days there were any.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did. Repeating it is safe.
    pub async fn fold_days(
        &self,
        endpoint: &str,
        model: &str,
        days: &[i64],
        before: i64,
    ) -> Result<u64, Error> {
        let of = Of { endpoint, model };
        transaction!(self, "COMMIT", |conn| fold(conn, of, days, before))
    }

    /// Adds the rows before `before` to the one sum of what is older than any day that is kept, the first so
    /// many of them, in one transaction. Returns how many.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did. Repeating it is safe.
    pub async fn forget_days(
        &self,
        endpoint: &str,
        model: &str,
        before: i64,
    ) -> Result<u64, Error> {
        let (of, into) = (Of { endpoint, model }, BEFORE_ALL);
        let span = Span { into, end: before };
        let gone = transaction!(self, "COMMIT", |conn| fold_span(conn, of, span))?;
        Ok(gone as u64)
    }
}

async fn fold<C: Dialect>(
    connection: &mut C,
    of: Of<'_>,
    days: &[i64],
    before: i64,
) -> Result<u64, Error>
where
    Minute: QueryableByName<C::Backend>,
{
    let mut folded = 0;
    for &into in days {
        let end = into.saturating_add(DAY).min(before);
        if fold_span(connection, of, Span { into, end }).await? > 0 {
            folded += 1;
        }
    }
    Ok(folded)
}

/// How many rows went.
async fn fold_span<C: Dialect>(connection: &mut C, of: Of<'_>, span: Span) -> Result<usize, Error>
where
    Minute: QueryableByName<C::Backend>,
{
    // Adding nothing to the row makes it, and holds it.
    add(connection, of, span.into, [0; 3]).await?;
    let minutes = lock(connection, of, span).await?;
    if !minutes.is_empty() {
        delete(connection, of, &minutes).await?;
        add(connection, of, span.into, sum(&minutes)?).await?;
    }
    Ok(minutes.len())
}

async fn add<C: Dialect>(
    connection: &mut C,
    of: Of<'_>,
    into: i64,
    tokens: [i64; 3],
) -> Result<(), Error> {
    let key = [
        Value::Text(of.endpoint),
        Value::Text(of.model),
        Value::Number(into),
    ];
    connection.add(&Rows::new(&TABLE, &[(key, tokens)])).await
}

/// The first [`MOST`].
async fn lock<C: Dialect>(connection: &mut C, of: Of<'_>, span: Span) -> Result<Vec<Minute>, Error>
where
    Minute: QueryableByName<C::Backend>,
{
    let ask = format!(
        "SELECT t.timestamp AS minute, t.input_tokens, t.output_tokens, t.total_tokens \
         FROM token_time_series t WHERE t.endpoint = ? AND t.model = ? \
         AND t.timestamp > ? AND t.timestamp < ? ORDER BY t.timestamp LIMIT {MOST}{}",
        C::LOCKING
    );
    let values = [
        Value::Text(of.endpoint),
        Value::Text(of.model),
        Value::Number(span.into),
        Value::Number(span.end),
    ];
    connection.rows(&ask, &values).await
}

async fn delete<C: Dialect>(
    connection: &mut C,
    of: Of<'_>,
    minutes: &[Minute],
) -> Result<(), Error> {
    let statement = format!(
        "DELETE FROM token_time_series WHERE endpoint = ? AND model = ? AND timestamp IN ({})",
        vec!["?"; minutes.len()].join(",")
    );
    let names = [Value::Text(of.endpoint), Value::Text(of.model)];
    let minute = |minute: &Minute| Value::Number(minute.minute);
    let values: Vec<_> = names
        .into_iter()
        .chain(minutes.iter().map(minute))
        .collect();
    let gone = connection.run(&statement, &values).await?;
    if gone == minutes.len() {
        return Ok(());
    }
    // They are held, so they are there: should that ever be wrong, nothing is changed.
    let why = format!(
        "of {} minutes that were held, {gone} were there",
        minutes.len()
    );
    Err(Error::Contended(why))
}

fn sum(minutes: &[Minute]) -> Result<[i64; 3], Error> {
    let mut sums = [0; 3];
    for minute in minutes {
        let tokens = [
            minute.input_tokens,
            minute.output_tokens,
            minute.total_tokens,
        ];
        for (sum, tokens) in sums.iter_mut().zip(tokens) {
            *sum = limits::sum(*sum, tokens)?;
        }
    }
    Ok(sums)
}
