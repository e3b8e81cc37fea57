//! The only place where databases differ: how many rows are written in
//! one statement, and what happens when one of them is there already.
//!
//! An addition is one statement for many rows, because a statement costs a hop to the database and
//! a batch has hundreds. Rows come sorted by key, so that two writers of one server database always
//! lock in the same order.

use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use diesel_async::RunQueryDsl;

use super::batch::BatchId;
use super::error::Error;
use super::sqlite;
use crate::domain::TokenCounts;

/// Rows per statement: well below SQLite's 32,766 parameters.
const CHUNK: usize = 500;

/// The key of a row in `token_counts`.
pub(super) type CountKey<'a> = (&'a str, &'a str);
/// The key of a row in `token_time_series`.
pub(super) type MinuteKey<'a> = (&'a str, &'a str, i64);

const ON_CONFLICT: &str = "DO UPDATE SET input_tokens = input_tokens + excluded.input_tokens, \
    output_tokens = output_tokens + excluded.output_tokens, \
    total_tokens = total_tokens + excluded.total_tokens";

/// Adds to `spend_batches`; fails if one of them is there.
pub(super) async fn add_ids(
    connection: &mut sqlite::Connection,
    ids: &[BatchId],
    applied_at: i64,
) -> Result<(), Error> {
    for chunk in ids.chunks(CHUNK) {
        let text = format!(
            "INSERT INTO spend_batches (producer, seq, applied_at) VALUES {}",
            rows_of("(?, ?, ?)", chunk.len())
        );
        let mut query = sql_query(text).into_boxed::<Sqlite>();
        for id in chunk {
            query = query
                .bind::<Text, _>(id.producer.to_string())
                .bind::<BigInt, _>(bigint(id.seq))
                .bind::<BigInt, _>(applied_at);
        }
        query.execute(connection).await?;
    }
    Ok(())
}

/// Adds to `token_counts`.
pub(super) async fn add_counts(
    connection: &mut sqlite::Connection,
    rows: &[(CountKey<'_>, TokenCounts)],
) -> Result<(), Error> {
    for chunk in rows.chunks(CHUNK) {
        let text = format!(
            "INSERT INTO token_counts (endpoint, model, input_tokens, output_tokens, total_tokens) \
             VALUES {} ON CONFLICT (endpoint, model) {ON_CONFLICT}",
            rows_of("(?, ?, ?, ?, ?)", chunk.len())
        );
        let mut query = sql_query(text).into_boxed::<Sqlite>();
        for ((endpoint, model), tokens) in chunk {
            query = query
                .bind::<Text, _>(*endpoint)
                .bind::<Text, _>(*model)
                .bind::<BigInt, _>(bigint(tokens.input))
                .bind::<BigInt, _>(bigint(tokens.output))
                .bind::<BigInt, _>(bigint(tokens.total()));
        }
        query.execute(connection).await?;
    }
    Ok(())
}

/// Adds to `token_time_series`.
pub(super) async fn add_minutes(
    connection: &mut sqlite::Connection,
    rows: &[(MinuteKey<'_>, TokenCounts)],
) -> Result<(), Error> {
    for chunk in rows.chunks(CHUNK) {
        let text = format!(
            "INSERT INTO token_time_series \
             (endpoint, model, timestamp, input_tokens, output_tokens, total_tokens) \
             VALUES {} ON CONFLICT (endpoint, model, timestamp) {ON_CONFLICT}",
            rows_of("(?, ?, ?, ?, ?, ?)", chunk.len())
        );
        let mut query = sql_query(text).into_boxed::<Sqlite>();
        for ((endpoint, model, minute), tokens) in chunk {
            query = query
                .bind::<Text, _>(*endpoint)
                .bind::<Text, _>(*model)
                .bind::<BigInt, _>(*minute)
                .bind::<BigInt, _>(bigint(tokens.input))
                .bind::<BigInt, _>(bigint(tokens.output))
                .bind::<BigInt, _>(bigint(tokens.total()));
        }
        query.execute(connection).await?;
    }
    Ok(())
}

fn rows_of(row: &str, count: usize) -> String {
    let mut text = String::with_capacity(count * (row.len() + 1));
    for at in 0..count {
        if at > 0 {
            text.push(',');
        }
        text.push_str(row);
    }
    text
}

/// SQL has no unsigned numbers.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
