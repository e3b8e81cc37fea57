//! The only place where databases differ: how a transaction begins, how a value is written into a
//! statement, and how many rows are added with one.
//!
//! Everything else of the store is written once, over [`Dialect`]. A table says which of its columns
//! are its key and what becomes of the others when the key is there already ([`Table`]); rows are
//! handed over by column ([`Rows`]), sorted by key. An addition is one statement for many rows,
//! because a statement costs a round trip to the server and a flush has thousands of rows. And it is sorted
//! because two writers then always lock in the same order, whatever else they do.

mod mysql;
mod postgres;
mod sqlite;
mod statement;

use diesel::deserialize::QueryableByName;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use super::error::Error;
use statement::{Named, Statement};

/// What a connection has to be able to do beyond diesel's common part.
pub(super) trait Dialect: AsyncConnection + SimpleAsyncConnection + Send {
    /// Begins a transaction that is going to write.
    const BEGIN: &str;

    /// What a number is cast to so that it comes as text: each database has a type of its own for a
    /// sum, and as text all of them are exact.
    const TEXT: &str;

    /// The end of a `SELECT` whose rows nobody else may change before the transaction ends.
    const LOCKING: &str;

    /// The database's clock, in Unix milliseconds, whatever its time zone.
    const NOW_MS: &str;

    /// What an insertion begins and ends with that leaves a row alone which is there already.
    const INSERT_ABSENT: (&str, &str);

    /// Makes every other caller, wherever it runs, wait until this connection is closed. Takes the
    /// bounds off what one statement may take, too: a migration may be long.
    async fn lock_migrations(&mut self) -> Result<(), Error>;

    /// Runs a statement with a `?` for each value; returns how many rows it found.
    async fn run(&mut self, statement: &str, values: &[Value<'_>]) -> Result<usize, Error>;

    /// The one column of whole numbers a statement selects.
    async fn numbers(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<i64>, Error>;

    /// The rows a statement selects, whose columns have the names of the fields of `R`.
    async fn rows<R>(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<R>, Error>
    where
        R: QueryableByName<Self::Backend> + Send + 'static;

    /// Adds rows, or adds to those that are there.
    async fn add(&mut self, rows: &Rows<'_>) -> Result<(), Error>;
}

/// Begins a transaction that is going to write.
pub(super) async fn begin<C: Dialect>(connection: &mut C) -> Result<(), Error> {
    Ok(connection.batch_execute(C::BEGIN).await?)
}

/// Ends it, by COMMIT or ROLLBACK.
pub(super) async fn end<C: Dialect>(connection: &mut C, how: &str) -> Result<(), Error> {
    Ok(connection.batch_execute(how).await?)
}

/// A value in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

/// What becomes of a column when the row is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// The sum of both.
    Add,
    /// The new value.
    Replace,
    /// The old value.
    Keep,
    /// It must not be there: the statement fails.
    Refuse,
}

/// A table to which rows are added.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The primary key.
    pub(super) key: &'static [&'static str],
    /// The other columns, all of them whole numbers.
    pub(super) values: &'static [(&'static str, Merge)],
}

/// One column of many rows.
#[derive(Debug)]
pub(super) enum Column<'a> {
    Text(Vec<&'a str>),
    Number(Vec<i64>),
}

/// Rows for a table, by column: those of the key, then the values. Sorted by key, each key once.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) table: &'static Table,
    pub(super) columns: Vec<Column<'a>>,
    pub(super) count: usize,
}

impl<'a> Rows<'a> {
    /// Turns sorted rows, each a key and its values, into columns.
    pub(super) fn new<const K: usize, const V: usize>(
        table: &'static Table,
        rows: &[([Value<'a>; K], [i64; V])],
    ) -> Self {
        debug_assert_eq!((table.key.len(), table.values.len()), (K, V));
        let key = |at: usize| match rows.first().map(|(key, _)| key[at]) {
            None | Some(Value::Number(_)) => Column::Number(
                rows.iter()
                    .map(|(key, _)| match key[at] {
                        Value::Number(number) => number,
                        Value::Text(_) => 0,
                    })
                    .collect(),
            ),
            Some(Value::Text(_)) => Column::Text(
                rows.iter()
                    .map(|(key, _)| match key[at] {
                        Value::Text(text) => text,
                        Value::Number(_) => "",
                    })
                    .collect(),
            ),
        };
        let values =
            |at: usize| Column::Number(rows.iter().map(|(_, values)| values[at]).collect());
        Self {
            table,
            columns: (0..K).map(key).chain((0..V).map(values)).collect(),
            count: rows.len(),
        }
    }

    /// Some of the rows, cell by cell.
    fn values(&self, range: std::ops::Range<usize>) -> Vec<Value<'a>> {
        let mut values = Vec::with_capacity(range.len() * self.columns.len());
        for row in range {
            values.extend(self.columns.iter().filter_map(|column| match column {
                Column::Text(texts) => texts.get(row).copied().map(Value::Text),
                Column::Number(numbers) => numbers.get(row).copied().map(Value::Number),
            }));
        }
        values
    }
}

impl Table {
    /// `name (column, column, …)`
    fn with_columns(&self) -> String {
        let values = self.values.iter().map(|(name, _)| *name);
        let columns: Vec<_> = self.key.iter().copied().chain(values).collect();
        format!("{} ({})", self.name, columns.join(", "))
    }

    /// `column = …, column = …` for what is there already. `new` writes the value that comes.
    fn merged(&self, new: impl Fn(&str) -> String) -> String {
        let mut assignments = Vec::new();
        for (column, merge) in self.values {
            match merge {
                Merge::Add => assignments.push(format!(
                    "{column} = {}.{column} + {}",
                    self.name,
                    new(column)
                )),
                Merge::Replace => assignments.push(format!("{column} = {}", new(column))),
                Merge::Keep | Merge::Refuse => {}
            }
        }
        assignments.join(", ")
    }

    fn refuses(&self) -> bool {
        self.values.iter().any(|(_, merge)| *merge == Merge::Refuse)
    }

    /// The end of an insertion, as PostgreSQL and SQLite say it.
    fn on_conflict(&self) -> String {
        if self.refuses() {
            return String::new();
        }
        let merged = self.merged(|column| format!("excluded.{column}"));
        format!(
            " ON CONFLICT ({}) DO UPDATE SET {merged}",
            self.key.join(", ")
        )
    }
}

/// A statement that is not asked often enough, or not with the same text, to be kept.
fn once<'a>(text: &'a str, values: &[Value<'a>]) -> Statement<'a> {
    Statement {
        text,
        values: values.to_vec(),
        kept: false,
    }
}

/// The same, for a statement whose columns have names.
fn named<'a>(text: &'a str, values: &[Value<'a>]) -> Named<'a> {
    Named(once(text, values))
}

/// The insertion of `count` rows by `VALUES`.
fn insertion(table: &Table, count: usize, end: &str) -> String {
    let columns = table.key.len() + table.values.len();
    let row = format!("({})", vec!["?"; columns].join(","));
    let rows = vec![row; count].join(",");
    format!("INSERT INTO {} VALUES {rows}{end}", table.with_columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        name: "t",
        key: &["a", "b"],
        values: &[
            ("sum", Merge::Add),
            ("last", Merge::Replace),
            ("old", Merge::Keep),
        ],
    };

    #[test]
    fn a_statement_says_what_becomes_of_each_column() {
        insta::assert_snapshot!(TABLE.on_conflict(), @" ON CONFLICT (a, b) DO UPDATE SET sum = t.sum + excluded.sum, last = excluded.last");
        insta::assert_snapshot!(insertion(&TABLE, 2, " END"), @"INSERT INTO t (a, b, sum, last, old) VALUES (?,?,?,?,?),(?,?,?,?,?) END");
        let rows = ["x", "y"].map(|text| ([Value::Text(text), Value::Number(1)], [1, 2, 3]));
        let rows = Rows::new(&TABLE, &rows);
        let [one, two, three] = [1, 2, 3].map(Value::Number);
        let values = [Value::Text("y"), one, one, two, three];
        assert_eq!(rows.values(1..2), values);
    }
}
