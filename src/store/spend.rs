//! `spend` and `spend_periods`: what each entity spent since the beginning, and in each period of
//! its budget.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Store;
use super::batch::SpendRow;
use super::dialect::{Dialect, Merge, Rows, Table, Value};
use super::error::Error;
use super::pool::{read, transaction};
use super::schema::{spend, spend_periods};
use super::sums::summed;
use crate::domain::EntityKind;

const TOTALS: Table = Table {
    name: "spend",
    key: &["kind", "entity"],
    values: SUMS,
};

const PERIODS: Table = Table {
    name: "spend_periods",
    key: &["kind", "entity", "period_start"],
    values: SUMS,
};

const SUMS: &[(&str, Merge)] = &[
    ("spend_nano_usd", Merge::Add),
    ("input_tokens", Merge::Add),
    ("output_tokens", Merge::Add),
    ("requests", Merge::Add),
];

/// Periods that are deleted with one statement.
const MOST: usize = 500;

/// What `rows` add to `spend`.
pub(super) fn totals<'a>(rows: impl Iterator<Item = &'a SpendRow>) -> Result<Rows<'a>, Error> {
    let keyed = rows.map(|row| {
        let key = [Value::Text(row.kind.as_str()), Value::Text(&row.entity)];
        (key, row.spent.into())
    });
    Ok(Rows::new(&TOTALS, &summed(keyed)?))
}

/// What `rows` add to `spend_periods`.
pub(super) fn periods<'a>(rows: impl Iterator<Item = &'a SpendRow>) -> Result<Rows<'a>, Error> {
    let keyed = rows.filter(|row| row.period != 0).map(|row| {
        let key = [
            Value::Text(row.kind.as_str()),
            Value::Text(&row.entity),
            Value::Number(row.period),
        ];
        (key, row.spent.into())
    });
    Ok(Rows::new(&PERIODS, &summed(keyed)?))
}

/// What an entity spent.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = spend)]
pub struct SpentRow {
    /// See [`EntityKind::as_str`].
    pub kind: String,
    /// Which one.
    pub entity: String,
    /// Billionths of a US dollar.
    pub spend_nano_usd: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Answered requests.
    pub requests: i64,
}

/// What an entity spent in one period.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = spend_periods)]
pub struct PeriodRow {
    /// See [`EntityKind::as_str`].
    pub kind: String,
    /// Which one.
    pub entity: String,
    /// When the period began, in Unix seconds.
    pub period_start: i64,
    /// Billionths of a US dollar.
    pub spend_nano_usd: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Answered requests.
    pub requests: i64,
}

impl Store {
    /// What the entities of one kind spent since the beginning, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn spent(&self, kind: EntityKind) -> Result<Vec<SpentRow>, Error> {
        read!(self, |conn| spend::table
            .select(SpentRow::as_select())
            .filter(spend::kind.eq(kind.as_str()))
            .order(spend::entity)
            .load(conn))
    }

    /// The names of one kind's entities, the first so many in their order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn entities(&self, kind: EntityKind, most: usize) -> Result<Vec<String>, Error> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, |conn| spend::table
            .select(spend::entity)
            .filter(spend::kind.eq(kind.as_str()))
            .order(spend::entity)
            .limit(most)
            .load(conn))
    }

    /// What the entities spent in all periods that began at `since` or later.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn spent_in_periods(&self, since: i64) -> Result<Vec<PeriodRow>, Error> {
        read!(self, |conn| spend_periods::table
            .select(PeriodRow::as_select())
            .filter(spend_periods::period_start.ge(since))
            .order((
                spend_periods::kind,
                spend_periods::entity,
                spend_periods::period_start
            ))
            .load(conn))
    }

    /// The next entity of a kind that has periods, by name, and when the first of them began. One step in the
    /// key, however many there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn oldest_period(
        &self,
        kind: EntityKind,
        after: &str,
    ) -> Result<Option<(String, i64)>, Error> {
        let found: Result<Vec<(String, i64)>, Error> = read!(self, |conn| spend_periods::table
            .select((spend_periods::entity, spend_periods::period_start))
            .filter(spend_periods::kind.eq(kind.as_str()))
            .filter(spend_periods::entity.gt(after))
            .order((spend_periods::entity, spend_periods::period_start))
            .limit(1)
            .load(conn));
        Ok(found?.pop())
    }

    /// Deletes the periods of an entity that began before `before` (Unix seconds), the first so many of them.
    /// Returns how many. What was spent in them is in the entity's sum.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_periods(
        &self,
        kind: EntityKind,
        entity: &str,
        before: i64,
    ) -> Result<u64, Error> {
        let of = [Value::Text(kind.as_str()), Value::Text(entity)];
        let gone = transaction!(self, "COMMIT", |conn| forget(conn, of, before))?;
        Ok(gone as u64)
    }
}

async fn forget<C: Dialect>(
    connection: &mut C,
    [kind, entity]: [Value<'_>; 2],
    before: i64,
) -> Result<usize, Error> {
    let ask = format!(
        "SELECT period_start FROM spend_periods \
         WHERE kind = ? AND entity = ? AND period_start < ? ORDER BY period_start LIMIT {MOST}"
    );
    let old = [kind, entity, Value::Number(before)];
    // The last of these that go.
    let Some(last) = connection.numbers(&ask, &old).await?.pop() else {
        return Ok(0);
    };
    let delete = "DELETE FROM spend_periods WHERE kind = ? AND entity = ? AND period_start <= ?";
    let through = [kind, entity, Value::Number(last)];
    connection.run(delete, &through).await
}
