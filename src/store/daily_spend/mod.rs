//! `daily_spend`: what each entity spent by day, key, model and endpoint; without the day where that has been
//! [forgotten](forget).

mod forget;

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

pub use forget::OldDay;

use super::Store;
use super::batch::DailyRow;
use super::dialect::{Merge, Rows, Table, Value};
use super::error::Error;
use super::pool::read;
use super::schema::daily_spend;
use super::sums::summed;
use crate::domain::day_of;

/// Seconds of it.
const DAY: i64 = 86_400;

const TABLE: Table = Table {
    name: "daily_spend",
    key: &["kind", "entity", "date", "api_key", "model", "endpoint"],
    values: &[
        ("spend_nano_usd", Merge::Add),
        ("input_tokens", Merge::Add),
        ("output_tokens", Merge::Add),
        ("requests", Merge::Add),
        ("failed_requests", Merge::Add),
    ],
};

/// The days of `rows`, by their number, as they are written.
pub(super) fn dates<'a>(rows: impl Iterator<Item = &'a DailyRow>) -> BTreeMap<i64, String> {
    let days: BTreeSet<i64> = rows.map(|row| day(row.at)).collect();
    let date = |day: i64| (day, day_of(day.saturating_mul(DAY)).to_string());
    days.into_iter().map(date).collect()
}

/// What `rows` add. `dates` are theirs.
pub(super) fn additions<'a>(
    rows: impl Iterator<Item = &'a DailyRow>,
    dates: &'a BTreeMap<i64, String>,
) -> Result<Rows<'a>, Error> {
    let keyed = rows.map(|row| {
        let date = dates.get(&day(row.at)).map_or("", String::as_str);
        let key = [
            row.kind.as_str(),
            &row.entity,
            date,
            &row.api_key,
            &row.model,
            &row.endpoint,
        ];
        let [nano_usd, input, output, requests] = row.spent.into();
        let values = [nano_usd, input, output, requests, row.failed_requests];
        (key.map(Value::Text), values)
    });
    Ok(Rows::new(&TABLE, &summed(keyed)?))
}

fn day(at: i64) -> i64 {
    at.div_euclid(DAY)
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = daily_spend)]
pub struct DaySpentRow {
    /// See [`EntityKind::as_str`](crate::domain::EntityKind::as_str).
    pub kind: String,
    /// Which one.
    pub entity: String,
    /// UTC, `YYYY-MM-DD`.
    pub date: String,
    /// The SHA-256 of the key, or empty.
    pub api_key: String,
    /// The canonical model name.
    pub model: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// Billionths of a US dollar.
    pub spend_nano_usd: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Answered requests.
    pub requests: i64,
    /// Requests that got no answer.
    pub failed_requests: i64,
}

impl Store {
    /// The days from `from` to `to`, both included, as they are written; by key, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn daily_spent(
        &self,
        from: &str,
        to: &str,
        limit: u32,
    ) -> Result<Vec<DaySpentRow>, Error> {
        read!(self, |conn| daily_spend::table
            .select(DaySpentRow::as_select())
            .filter(daily_spend::date.ge(from))
            .filter(daily_spend::date.le(to))
            .order((
                daily_spend::kind,
                daily_spend::entity,
                daily_spend::date,
                daily_spend::api_key,
                daily_spend::model,
                daily_spend::endpoint
            ))
            .limit(i64::from(limit))
            .load(conn))
    }
}
