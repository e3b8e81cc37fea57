//! `spend` and `spend_periods`: what each entity spent since the beginning, and in each period of
//! its budget.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Store;
use super::batch::SpendRow;
use super::dialect::{Merge, Rows, Table, Value};
use super::error::Error;
use super::pool::read;
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
}
