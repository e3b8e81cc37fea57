//! `token_counts`: tokens per endpoint and model since the beginning.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Store;
use super::batch::BatchRow;
use super::dialect::{Merge, Rows, Table, Value};
use super::error::Error;
use super::pool::read;
use super::schema::token_counts;
use super::sums::summed;
use crate::domain::ModelName;

const TABLE: Table = Table {
    name: "token_counts",
    key: &["endpoint", "model"],
    values: &[
        ("input_tokens", Merge::Add),
        ("output_tokens", Merge::Add),
        ("total_tokens", Merge::Add),
    ],
};

/// What `rows` add.
pub(super) fn additions<'a>(rows: impl Iterator<Item = &'a BatchRow>) -> Result<Rows<'a>, Error> {
    let keyed = rows.map(|row| {
        let key = [Value::Text(&row.endpoint), Value::Text(&row.model)];
        (key, row.tokens.into())
    });
    Ok(Rows::new(&TABLE, &summed(keyed)?))
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = token_counts)]
pub struct CountRow {
    /// The endpoint's name.
    pub endpoint: String,
    /// The canonical model name.
    pub model: String,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Both together.
    pub total_tokens: i64,
}

impl Store {
    /// All of it, by endpoint and model.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn token_counts(&self) -> Result<Vec<CountRow>, Error> {
        read!(self, |conn| token_counts::table
            .select(CountRow::as_select())
            .order((token_counts::endpoint, token_counts::model))
            .load(conn))
    }

    /// One model's rows, by endpoint.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn token_counts_of(&self, model: &ModelName) -> Result<Vec<CountRow>, Error> {
        read!(self, |conn| token_counts::table
            .select(CountRow::as_select())
            .filter(token_counts::model.eq(model.as_str()))
            .order(token_counts::endpoint)
            .load(conn))
    }
}
