//! MySQL and MariaDB.

use diesel::deserialize::QueryableByName;
use diesel_async::{AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::statement::{Statement, sizes};
use super::{Dialect, Rows, Value, insertion, named, once};
use crate::store::error::Error;

/// Rows with one statement. With the longest names there are, it stays below the 16 MiB a packet may
/// have, and well below 65,535 values.
const MOST: usize = 1_024;

impl Dialect for AsyncMysqlConnection {
    const BEGIN: &str = "BEGIN";
    const TEXT: &str = "CHAR";
    const LOCKING: &str = " FOR UPDATE";
    const NOW_MS: &str = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)";
    const INSERT_ABSENT: (&str, &str) = ("INSERT IGNORE", "");

    async fn lock_migrations(&mut self) -> Result<(), Error> {
        // Locks belong to the whole server, databases do not. On MariaDB a wait counts as a
        // statement's time.
        self.batch_execute("SET SESSION wait_timeout = 3600 /*M! , max_statement_time = 0 */")
            .await?;
        let lock = "SELECT COALESCE(GET_LOCK(CONCAT('herdsman.', MD5(DATABASE())), 60), 0)";
        match *self.numbers(lock, &[]).await? {
            [1] => Ok(()),
            _ => Err(Error::Contended(
                "another router is still migrating".to_owned(),
            )),
        }
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
        let end = if rows.table.refuses() {
            String::new()
        } else {
            // `VALUES(column)` is the one way to say it that both MySQL and MariaDB understand.
            let merged = rows.table.merged(|column| format!("VALUES({column})"));
            format!(" ON DUPLICATE KEY UPDATE {merged}")
        };
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
