//! `endpoint_drains`: what operators keep new requests from, of servers that are in no row of `endpoints`.
//!
//! A row for each model, so that changes of several operators at once need no order: what one begins and what another
//! ends are different rows, or the same twice.

use diesel::deserialize::QueryableByName;

use super::dialect::{Dialect, Value};
use super::error::Error;
use super::pool::{reading, transaction};
use super::{InstanceKind, Store};

/// The most rows there may be.
pub const MAX_DRAINS: usize = 4_096;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct DrainRow {
    /// How the server is called.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub name: String,
    /// Which of its models; `*` for all of it.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub model: String,
}

/// What begins and what ends, of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainChange {
    /// How the server is called.
    pub name: String,
    /// It outlives all routers.
    pub lasting: bool,
    /// Models, or `*`.
    pub begin: Vec<String>,
    /// Likewise.
    pub end: Vec<String>,
}

/// What became of those that do not last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Of which servers there were some.
    pub names: Vec<String>,
    /// They stay: another router is there.
    pub stay: bool,
}

impl Store {
    /// Every row, in the order of their keys.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn drains(&self) -> Result<Vec<DrainRow>, Error> {
        reading!(self, |conn| all(conn))
    }

    /// Makes the change, whole; not if there would be too many rows, which is what it returns. `now` is Unix seconds.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn change_drains(&self, change: &DrainChange, now: i64) -> Result<bool, Error> {
        transaction!(self, "COMMIT", |conn| make(conn, change, now))
    }

    /// Takes out those that do not last, unless a router is there besides the one with this name.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// As [`Store::change_drains`].
    pub async fn end_drains(&self, router: &str) -> Result<Ended, Error> {
        transaction!(self, "COMMIT", |conn| end(conn, router))
    }
}

async fn all<C: Dialect>(connection: &mut C) -> Result<Vec<DrainRow>, Error>
where
    DrainRow: QueryableByName<C::Backend>,
{
    let ask = format!(
        "SELECT name, model FROM endpoint_drains ORDER BY name, since, model LIMIT {MAX_DRAINS}"
    );
    connection.rows(&ask, &[]).await
}

async fn make<C: Dialect>(
    connection: &mut C,
    change: &DrainChange,
    now: i64,
) -> Result<bool, Error> {
    let count = "SELECT COUNT(*) AS number FROM endpoint_drains";
    let there: i64 = connection.numbers(count, &[]).await?.into_iter().sum();
    let there = usize::try_from(there).unwrap_or(usize::MAX);
    let most = MAX_DRAINS + change.end.len();
    if !change.begin.is_empty() && there.saturating_add(change.begin.len()) > most {
        return Ok(false);
    }
    let name = Value::Text(&change.name);
    let delete = "DELETE FROM endpoint_drains WHERE name = ? AND model = ?";
    for model in &change.end {
        connection.run(delete, &[name, Value::Text(model)]).await?;
    }
    let (start, end) = C::INSERT_ABSENT;
    let insert = format!(
        "{start} INTO endpoint_drains (name, model, lasting, since) VALUES (?, ?, ?, ?){end}"
    );
    let lasting = Value::Number(i64::from(change.lasting));
    for model in &change.begin {
        let values = [name, Value::Text(model), lasting, Value::Number(now)];
        connection.run(&insert, &values).await?;
    }
    Ok(true)
}

async fn end<C: Dialect>(connection: &mut C, router: &str) -> Result<Ended, Error>
where
    DrainRow: QueryableByName<C::Backend>,
{
    let ask = "SELECT name, model FROM endpoint_drains WHERE lasting = 0 ORDER BY name";
    let rows: Vec<DrainRow> = connection.rows(ask, &[]).await?;
    let mut names: Vec<String> = rows.into_iter().map(|row| row.name).collect();
    names.dedup();
    if names.is_empty() {
        return Ok(Ended::default());
    }
    let others = format!(
        "SELECT COUNT(*) AS number FROM model_instances \
         WHERE kind = ? AND name <> ? AND stopped = 0 AND lease_until > {}",
        C::NOW_MS
    );
    let kind = Value::Text(InstanceKind::Router.as_str());
    let others = connection
        .numbers(&others, &[kind, Value::Text(router)])
        .await?;
    let stay = others != [0];
    if !stay {
        let delete = "DELETE FROM endpoint_drains WHERE lasting = 0";
        connection.run(delete, &[]).await?;
    }
    Ok(Ended { names, stay })
}
