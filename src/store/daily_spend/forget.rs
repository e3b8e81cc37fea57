//! Days that become one sum.
//!
//! What is older than any day that is kept is in rows of the same table, under the first day of 1970 and with
//! everything but the day: so a sum over all days, by account, key, model or endpoint, is what it was, in every
//! state that anybody can see.
//!
//! Locks are taken in the order of the key, as a flush takes them: first the rows that are added to, then those
//! that go. So which rows these are is asked twice, and of what the second answer holds only that goes whose
//! place was in the first.

use std::collections::BTreeMap;

use diesel::deserialize::QueryableByName;
use diesel::sql_types::{BigInt, Text};

use super::TABLE;
use crate::store::Store;
use crate::store::date::Day;
use crate::store::dialect::{Dialect, Rows, Value};
use crate::store::error::Error;
use crate::store::limits;
use crate::store::pool::{reading, transaction};

/// The day of what is of no day that is kept.
const BEFORE_ALL: &str = "1970-01-01";

/// Rows that go in one transaction.
const MOST: usize = 200;

/// The oldest day and one account that has it.
const OLDEST: &str = "SELECT kind, entity, date AS day FROM daily_spend \
    WHERE date > ? AND date < ? ORDER BY date LIMIT 1";

/// An account on a day.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct OldDay {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    entity: String,
    #[diesel(sql_type = Text)]
    day: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    api_key: String,
    #[diesel(sql_type = Text)]
    model: String,
    #[diesel(sql_type = Text)]
    endpoint: String,
    #[diesel(sql_type = BigInt)]
    spend_nano_usd: i64,
    #[diesel(sql_type = BigInt)]
    input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    output_tokens: i64,
    #[diesel(sql_type = BigInt)]
    requests: i64,
    #[diesel(sql_type = BigInt)]
    failed_requests: i64,
}

/// Key, model and endpoint.
type Place = [String; 3];

impl OldDay {
    /// Which day it is; `None` for one that no router wrote.
    #[must_use]
    pub fn day(&self) -> Option<Day> {
        self.day.parse().ok()
    }

    fn values(&self) -> [Value<'_>; 3] {
        [&self.kind, &self.entity, &self.day].map(|text| Value::Text(text))
    }
}

impl Row {
    fn place(&self) -> Place {
        [&self.api_key, &self.model, &self.endpoint].map(Clone::clone)
    }

    fn sums(&self) -> [i64; 5] {
        [
            self.spend_nano_usd,
            self.input_tokens,
            self.output_tokens,
            self.requests,
            self.failed_requests,
        ]
    }
}

impl Store {
    /// The oldest day before `before`, and an account that has it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn oldest_spent(&self, before: &Day) -> Result<Option<OldDay>, Error> {
        let values = [Value::Text(BEFORE_ALL), Value::Text(before.as_str())];
        let mut found: Vec<OldDay> = reading!(self, |conn| conn.rows(OLDEST, &values))?;
        Ok(found.pop())
    }

    /// Adds rows of this day and account to those of no day, the first so many of them, in one transaction.
    /// Returns how many.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did. Repeating it is safe.
    pub async fn forget_spent(&self, old: &OldDay) -> Result<u64, Error> {
        let gone = transaction!(self, "COMMIT", |conn| forget(conn, old))?;
        Ok(gone as u64)
    }
}

async fn forget<C: Dialect>(connection: &mut C, old: &OldDay) -> Result<usize, Error>
where
    Row: QueryableByName<C::Backend>,
{
    let seen = rows(connection, old, "").await?;
    let mut sums: BTreeMap<Place, [i64; 5]> =
        seen.iter().map(|row| (row.place(), [0; 5])).collect();
    // Adding nothing to the rows makes them, and holds them.
    add(connection, old, &sums).await?;
    let mut held = rows(connection, old, C::LOCKING).await?;
    held.retain(|row| sums.contains_key(&row.place()));
    for row in &held {
        let Some(sum) = sums.get_mut(&row.place()) else {
            continue;
        };
        for (sum, value) in sum.iter_mut().zip(row.sums()) {
            *sum = limits::sum(*sum, value)?;
        }
    }
    if !held.is_empty() {
        delete(connection, old, &held).await?;
        add(connection, old, &sums).await?;
    }
    Ok(held.len())
}

/// The first [`MOST`] of the day.
async fn rows<C: Dialect>(
    connection: &mut C,
    old: &OldDay,
    locking: &str,
) -> Result<Vec<Row>, Error>
where
    Row: QueryableByName<C::Backend>,
{
    let ask = format!(
        "SELECT api_key, model, endpoint, spend_nano_usd, input_tokens, output_tokens, requests, \
         failed_requests FROM daily_spend WHERE kind = ? AND entity = ? AND date = ? \
         ORDER BY api_key, model, endpoint LIMIT {MOST}{locking}"
    );
    connection.rows(&ask, &old.values()).await
}

/// To the rows of no day, sorted as their map is.
async fn add<C: Dialect>(
    connection: &mut C,
    old: &OldDay,
    sums: &BTreeMap<Place, [i64; 5]>,
) -> Result<(), Error> {
    let keyed: Vec<_> = sums
        .iter()
        .map(|([api_key, model, endpoint], sums)| {
            let key = [&old.kind, &old.entity, BEFORE_ALL, api_key, model, endpoint];
            (key.map(Value::Text), *sums)
        })
        .collect();
    connection.add(&Rows::new(&TABLE, &keyed)).await
}

async fn delete<C: Dialect>(connection: &mut C, old: &OldDay, held: &[Row]) -> Result<(), Error> {
    let row = "(api_key = ? AND model = ? AND endpoint = ?)";
    let statement = format!(
        "DELETE FROM daily_spend WHERE kind = ? AND entity = ? AND date = ? AND ({})",
        vec![row; held.len()].join(" OR ")
    );
    let places = held
        .iter()
        .flat_map(|row| [&row.api_key, &row.model, &row.endpoint]);
    let places = places.map(|text| Value::Text(text));
    let values: Vec<_> = old.values().into_iter().chain(places).collect();
    let gone = connection.run(&statement, &values).await?;
    if gone == held.len() {
        return Ok(());
    }
    // They are held, so they are there: should that ever be wrong, nothing is changed.
    let why = format!("of {} days that were held, {gone} were there", held.len());
    Err(Error::Contended(why))
}
