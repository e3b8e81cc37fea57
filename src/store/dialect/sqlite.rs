//! SQLite.

use diesel::deserialize::QueryableByName;
use diesel_async::RunQueryDsl;

use super::statement::{Statement, sizes};
use super::{Dialect, Rows, Value, insertion, named, once};
use crate::store::error::Error;
use crate::store::sqlite::Connection;

/// Rows with one statement: well below the 32,766 values it may have.
const MOST: usize = 512;

impl Dialect for Connection {
    // A transaction that first reads and then wants to write is refused at once when another
    // program writes meanwhile, however long the busy timeout.
    const BEGIN: &str = "BEGIN IMMEDIATE";
    const TEXT: &str = "TEXT";
    // A file has one writer.
    const LOCKING: &str = "";
    const NOW_MS: &str = "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)";
    const INSERT_ABSENT: (&str, &str) = ("INSERT", " ON CONFLICT DO NOTHING");

    async fn lock_migrations(&mut self) -> Result<(), Error> {
        // A file has one writer anyway: the transaction around all of them is the lock.
        Ok(())
    }

    async fn run(&mut self, text: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        Ok(once(text, values).execute(self).await?)
    }

    async fn numbers(&mut self, text: &str, values: &[Value<'_>]) -> Result<Vec<i64>, Error> {
        Ok(once(text, values).load(self).await?)
    }

    async fn rows<R>(&mut self, text: &str, values: &[Value<'_>]) -> Result<Vec<R>, Error>
    where
        R: QueryableByName<Self::Backend> + Send + 'static,
    {
        Ok(named(text, values).load(self).await?)
    }

    async fn add(&mut self, rows: &Rows<'_>) -> Result<(), Error> {
        let end = rows.table.on_conflict();
        for range in sizes(rows.count, MOST) {
            let statement = Statement {
                text: &insertion(rows.table, range.len(), &end),
                values: rows.values(range),
                kept: true,
            };
            statement.execute(self).await?;
        }
        Ok(())
    }
}
