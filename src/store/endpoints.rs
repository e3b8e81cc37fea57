//! `endpoints`: servers that operators added while routers ran.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::dialect::{Dialect, Value};
use super::error::Error;
use super::pool::{read, transaction};
use super::schema::endpoints;
use super::{Precondition, Saved, Store};
use crate::config::Secret;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// How it is called.
    pub name: String,
    /// Its root, as written.
    pub url: String,
    /// What tells it from other servers, however the root is written.
    pub address: String,
    /// Which API it has.
    pub kind: String,
    /// Sent to it.
    pub api_key: Secret,
    /// How it is used: a JSON object.
    pub settings: String,
    /// The models that take nothing new there: a JSON list.
    pub draining: String,
    /// When it was added, in Unix seconds.
    pub created_at: i64,
    /// Grows with every change.
    pub version: i64,
}

type Columns = (
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
);

impl Store {
    /// Every server that was added, in the order in which they were.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn endpoints(&self) -> Result<Vec<EndpointRow>, Error> {
        let rows: Result<Vec<Columns>, Error> = read!(self, |conn| endpoints::table
            .select((
                endpoints::name,
                endpoints::url,
                endpoints::address,
                endpoints::kind,
                endpoints::api_key,
                endpoints::settings,
                endpoints::draining,
                endpoints::created_at,
                endpoints::version,
            ))
            .order((endpoints::created_at, endpoints::name))
            .load(conn));
        Ok(rows?.into_iter().map(EndpointRow::from).collect())
    }

    /// Adds the server, or changes the one of this name. `now` is Unix seconds.
    /// [`Saved::Stale`] when another has its name or address, or when it was changed meanwhile.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn save_endpoint(
        &self,
        row: &EndpointRow,
        precondition: Precondition,
        now: i64,
    ) -> Result<Saved, Error> {
        transaction!(self, "COMMIT", |conn| save(conn, row, precondition, now))
    }

    /// Forgets the server of this name; says whether there was one.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn delete_endpoint(&self, name: &str) -> Result<bool, Error> {
        transaction!(self, "COMMIT", |conn| delete(conn, name))
    }
}

async fn save<C: Dialect>(
    connection: &mut C,
    row: &EndpointRow,
    precondition: Precondition,
    now: i64,
) -> Result<Saved, Error> {
    let ask = "SELECT COUNT(*) AS number FROM endpoints WHERE address = ? AND name <> ?";
    let values = [Value::Text(&row.address), Value::Text(&row.name)];
    if connection.numbers(ask, &values).await? != [0] {
        return Ok(Saved::Stale);
    }
    let said = [
        Value::Text(&row.url),
        Value::Text(&row.address),
        Value::Text(&row.kind),
        Value::Text(row.api_key.expose()),
        Value::Text(&row.settings),
        Value::Text(&row.draining),
        Value::Number(now),
    ];
    let (done, version) = match precondition {
        Precondition::Absent => {
            let ask = "SELECT COUNT(*) AS number FROM endpoints WHERE name = ?";
            let named = [Value::Text(&row.name)];
            if connection.numbers(ask, &named).await? != [0] {
                return Ok(Saved::Stale);
            }
            let insert = "INSERT INTO endpoints (url, address, kind, api_key, settings, draining, \
                updated_at, name, created_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)";
            let rest = [Value::Text(&row.name), Value::Number(row.created_at)];
            let values: Vec<_> = said.into_iter().chain(rest).collect();
            (connection.run(insert, &values).await?, 1)
        }
        Precondition::Version(version) => {
            let update = "UPDATE endpoints SET url = ?, address = ?, kind = ?, api_key = ?, \
                settings = ?, draining = ?, updated_at = ?, version = version + 1 \
                WHERE name = ? AND version = ?";
            let rest = [Value::Text(&row.name), Value::Number(version)];
            let values: Vec<_> = said.into_iter().chain(rest).collect();
            (connection.run(update, &values).await?, version + 1)
        }
    };
    Ok(match done {
        0 => Saved::Stale,
        _ => Saved::As(version),
    })
}

async fn delete<C: Dialect>(connection: &mut C, name: &str) -> Result<bool, Error> {
    let delete = "DELETE FROM endpoints WHERE name = ?";
    Ok(connection.run(delete, &[Value::Text(name)]).await? > 0)
}

impl From<Columns> for EndpointRow {
    fn from(columns: Columns) -> Self {
        let (name, url, address, kind, api_key, settings, draining, created_at, version) = columns;
        Self {
            name,
            url,
            address,
            kind,
            api_key: api_key.into(),
            settings,
            draining,
            created_at,
            version,
        }
    }
}
