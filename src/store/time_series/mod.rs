//! `token_time_series`: tokens per endpoint and model, by the minute, and by the day where minutes have been
//! [folded](fold).

mod fold;
mod old;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Store;
use super::batch::BatchRow;
use super::dialect::{Merge, Rows, Table, Value};
use super::error::Error;
use super::pool::read;
use super::schema::token_time_series;
use super::sums::summed;
use crate::domain::ModelName;

/// The most rows one question gets: 34 days of one model that is used every minute on one endpoint.
pub const MAX_MINUTES: u32 = 50_000;

/// When the row is whose tokens are of no time that is kept.
const BEFORE_ALL: i64 = 0;

const TABLE: Table = Table {
    name: "token_time_series",
    key: &["endpoint", "model", "timestamp"],
    values: &[
        ("input_tokens", Merge::Add),
        ("output_tokens", Merge::Add),
        ("total_tokens", Merge::Add),
    ],
};

/// What `rows` add.
pub(super) fn additions<'a>(rows: impl Iterator<Item = &'a BatchRow>) -> Result<Rows<'a>, Error> {
    let keyed = rows.map(|row| {
        let key = [
            Value::Text(&row.endpoint),
            Value::Text(&row.model),
            Value::Number(row.minute),
        ];
        (key, row.tokens.into())
    });
    Ok(Rows::new(&TABLE, &summed(keyed)?))
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = token_time_series)]
pub struct MinuteRow {
    /// The endpoint's name.
    pub endpoint: String,
    /// The canonical model name.
    pub model: String,
    /// Unix seconds at the full minute; a day that was folded has its first.
    pub timestamp: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Both together.
    pub total_tokens: i64,
}

impl Store {
    /// One model's minutes and days, newest first, at most `limit` and never more than [`MAX_MINUTES`]. What is
    /// older than any day that is kept has no place among them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn time_series(
        &self,
        model: &ModelName,
        limit: u32,
    ) -> Result<Vec<MinuteRow>, Error> {
        read!(self, |conn| token_time_series::table
            .select(MinuteRow::as_select())
            .filter(token_time_series::model.eq(model.as_str()))
            .filter(token_time_series::timestamp.ne(BEFORE_ALL))
            .order((
                token_time_series::timestamp.desc(),
                token_time_series::endpoint
            ))
            .limit(i64::from(limit.min(MAX_MINUTES)))
            .load(conn))
    }
}
