//! SQLite.

use diesel_async::RunQueryDsl;

use super::{Dialect, Rows, Value, bound, chunks, column_of_numbers};
use crate::store::error::Error;
use crate::store::sqlite::Connection;

/// Rows with one statement: well below the 32,766 values it may have.
const CHUNK: usize = 500;

impl Dialect for Connection {
    // A transaction that first reads and then wants to write is refused at once when another
    // program writes meanwhile, however long the busy timeout.
    const BEGIN: &str = "BEGIN IMMEDIATE";

    async fn lock_migrations(&mut self) -> Result<(), Error> {
        // A file has one writer anyway: the transaction around all of them is the lock.
        Ok(())
    }

    async fn run(&mut self, statement: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        Ok(bound!(statement, values.iter().copied())
            .execute(self)
            .await?)
    }

    async fn numbers(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<i64>, Error> {
        Ok(column_of_numbers!(
            bound!(statement, values.iter().copied()),
            self
        ))
    }

    async fn add(&mut self, rows: &Rows<'_>) -> Result<(), Error> {
        let end = rows.table.on_conflict();
        for (text, range) in chunks(rows, CHUNK, &end) {
            let values = range.flat_map(|row| rows.columns.iter().map(move |c| rows.value(row, c)));
            bound!(text, values).execute(self).await?;
        }
        Ok(())
    }
}
