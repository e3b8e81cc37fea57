//! PostgreSQL.

use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::{Column, Dialect, Rows, Value, named, once};
use crate::store::error::Error;

/// "herdsman" in ASCII: no other program in the same database is likely to use it.
const MIGRATIONS: i64 = i64::from_be_bytes(*b"herdsman");

impl Dialect for AsyncPgConnection {
    const BEGIN: &str = "BEGIN";
    const TEXT: &str = "TEXT";
    const LOCKING: &str = " FOR UPDATE";
    const NOW_MS: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    const INSERT_ABSENT: (&str, &str) = ("INSERT", " ON CONFLICT DO NOTHING");

    async fn lock_migrations(&mut self) -> Result<(), Error> {
        // A change of a table that has to wait lets nobody else pass: it gives up first.
        let lock = format!(
            "SET statement_timeout = 0; SET lock_timeout = '60s'; \
             SELECT pg_advisory_lock({MIGRATIONS}); SET lock_timeout = '10s'"
        );
        Ok(self.batch_execute(&lock).await?)
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

    /// One array for each column, so that any number of rows is one short statement.
    async fn add(&mut self, rows: &Rows<'_>) -> Result<(), Error> {
        if rows.count == 0 {
            return Ok(());
        }
        Addition(rows).execute(self).await?;
        Ok(())
    }
}

/// However many rows there are, its text is the same: the server reads it once.
struct Addition<'a>(&'a Rows<'a>);

impl QueryId for Addition<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Addition<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self(rows) = self;
        out.push_sql("INSERT INTO ");
        out.push_sql(&rows.table.with_columns());
        out.push_sql(" SELECT * FROM unnest(");
        for (at, column) in rows.columns.iter().enumerate() {
            if at > 0 {
                out.push_sql(", ");
            }
            match column {
                Column::Text(texts) => out.push_bind_param::<Array<Text>, _>(texts)?,
                Column::Number(numbers) => out.push_bind_param::<Array<BigInt>, _>(numbers)?,
            }
        }
        out.push_sql(")");
        out.push_sql(&rows.table.on_conflict());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use diesel::debug_query;

    use super::*;
    use crate::store::dialect::{Merge, Table};

    #[test]
    fn an_addition_has_an_array_for_each_column() {
        const TABLE: Table = Table {
            name: "t",
            key: &["a"],
            values: &[("sum", Merge::Add)],
        };
        let rows = Rows::new(
            &TABLE,
            &[([Value::Text("x")], [1]), ([Value::Text("y")], [2])],
        );
        insta::assert_snapshot!(debug_query(&Addition(&rows)), @r#"INSERT INTO t (a, sum) SELECT * FROM unnest($1, $2) ON CONFLICT (a) DO UPDATE SET sum = t.sum + excluded.sum -- binds: [["x", "y"], [1, 2]]"#);
    }
}
