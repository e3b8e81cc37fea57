//! PostgreSQL.

use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::{Column, Dialect, Rows, Value, bound, column_of_numbers};
use crate::store::error::Error;

/// "herdsman" in ASCII: nobody else in the same database will have thought of it.
const MIGRATIONS: i64 = i64::from_be_bytes(*b"herdsman");

impl Dialect for AsyncPgConnection {
    const BEGIN: &str = "BEGIN";

    async fn lock_migrations(&mut self) -> Result<(), Error> {
        // A change of a table that has to wait lets nobody else pass: it gives up first.
        let lock = format!(
            "SET statement_timeout = 0; SET lock_timeout = '60s'; \
             SELECT pg_advisory_lock({MIGRATIONS}); SET lock_timeout = '10s'"
        );
        Ok(self.batch_execute(&lock).await?)
    }

    async fn run(&mut self, statement: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        let text = numbered(statement);
        Ok(bound!(text, values.iter().copied()).execute(self).await?)
    }

    async fn numbers(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<i64>, Error> {
        let text = numbered(statement);
        Ok(column_of_numbers!(
            bound!(text, values.iter().copied()),
            self
        ))
    }

    /// One array for each column, so that any number of rows is one short statement.
    async fn add(&mut self, rows: &Rows<'_>) -> Result<(), Error> {
        if rows.count == 0 {
            return Ok(());
        }
        let arrays: Vec<_> = rows
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let kind = match column {
                    Column::Text(_) => "text",
                    Column::Number(_) => "bigint",
                };
                format!("${}::{kind}[]", at + 1)
            })
            .collect();
        let text = format!(
            "INSERT INTO {} SELECT * FROM unnest({}){}",
            rows.table.with_columns(),
            arrays.join(", "),
            rows.table.on_conflict(),
        );
        let mut query = sql_query(text).into_boxed();
        for column in &rows.columns {
            query = match column {
                Column::Text(texts) => query.bind::<Array<Text>, _>(texts),
                Column::Number(numbers) => query.bind::<Array<BigInt>, _>(numbers),
            };
        }
        query.execute(self).await?;
        Ok(())
    }
}

/// `?`, `?`, … as `$1`, `$2`, … Our statements have no question mark inside a text.
fn numbered(statement: &str) -> String {
    let mut text = String::with_capacity(statement.len() + 16);
    for (at, piece) in statement.split('?').enumerate() {
        if at > 0 {
            text.push('$');
            text.push_str(&at.to_string());
        }
        text.push_str(piece);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_from_one() {
        assert_eq!(
            numbered("a = ? AND b IN (?, ?)"),
            "a = $1 AND b IN ($2, $3)"
        );
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
