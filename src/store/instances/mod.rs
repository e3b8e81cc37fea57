//! `model_instances`: who is there, as leases on the database's clock.
//!
//! No time comes from a caller: every statement reads the clock of the database, so that routers and agents whose
//! clocks differ agree on who is there. A lease is taken by one statement that says under which conditions
//! it may be, so that of any number of callers at once one has it. Whoever takes it from another gets a
//! greater *incarnation*; what is renewed or ended has to name its own, and finds nothing when it is not the
//! last one or was stopped.

mod address;
mod row;

use diesel::deserialize::QueryableByName;

pub use row::{InstanceKey, InstanceKind, InstanceRow};

use address::Neighbour;
use row::{Columns, row};

use super::Store;
use super::dialect::{Dialect, Value};
use super::error::Error;
use super::pool::{reading, transaction};

/// The most rows of agents and workers there may be: with the longest text of facts, 40 MiB.
pub const MAX_INSTANCES: usize = 5_000;
/// The most routers that share a database.
pub const MAX_ROUTERS: usize = 100;
/// The longest name, in characters; host and address, in bytes of ASCII; facts, in bytes.
pub const MAX_INSTANCE_NAME: usize = 128;
/// The longest host name.
pub const MAX_INSTANCE_HOST: usize = 255;
/// The longest address.
pub const MAX_INSTANCE_URL: usize = 600;
/// The longest text of facts.
pub const MAX_INSTANCE_FACTS: usize = 8 << 10;
/// Rows of routers that have ended stay for a moment.
const MOST_READ: usize = MAX_INSTANCES + 2 * MAX_ROUTERS;
/// Rows that one step collects.
const STEP: i64 = 100;

/// Who wants a lease, and for how long.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Which.
    pub key: InstanceKey,
    /// How it is reached. Of two with one name the one with the same address takes over.
    pub url: String,
    /// Who, as nobody else ever was.
    pub run: String,
    /// How long it holds.
    pub lease_ms: i64,
    /// What it says of itself, in JSON.
    pub facts: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It holds the lease, as this incarnation.
    As(i64),
    /// Another one holds it, at this address.
    Taken(String),
    /// The agent of this name holds its address.
    Held(String),
    /// There are as many rows as there may be.
    Full,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It holds for another time.
    Yes,
    /// There is no such row.
    Unknown,
    /// It was stopped, or another has taken over.
    Over,
}

/// Who has a row.
#[derive(QueryableByName)]
struct Holder {
    #[diesel(sql_type = diesel::sql_types::Text)]
    run: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    url: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    incarnation: i64,
}

impl Store {
    /// Every row that is understood, with its age.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn instances(&self) -> Result<Vec<InstanceRow>, Error> {
        let rows: Result<Vec<Columns>, Error> = reading!(self, |conn| all(conn));
        Ok(rows?.into_iter().filter_map(row).collect())
    }

    /// Takes the lease, if nobody else holds it. The holder itself renews it.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn join_instance(&self, joining: &Joining) -> Result<Joined, Error> {
        transaction!(self, "COMMIT", |conn| join(conn, joining))
    }

    /// Renews the lease of this incarnation, with what it says of itself now. `lease_ms` of zero ends it: it
    /// is stopped, and not renewed any more.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// As [`Store::join_instance`].
    pub async fn renew_instance(
        &self,
        joined: &Joining,
        incarnation: i64,
    ) -> Result<Renewed, Error> {
        transaction!(self, "COMMIT", |conn| renew(conn, joined, incarnation))
    }

    /// As [`Store::renew_instance`] for one who knows no incarnations, and is entered if it is not known. One
    /// that was stopped is not revived by it, for as long as it comes.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// As [`Store::join_instance`].
    pub async fn beat_instance(&self, joining: &Joining) -> Result<Joined, Error> {
        transaction!(self, "COMMIT", |conn| beat(conn, joining))
    }

    /// Stops the row, whoever holds it. Returns whether it was not stopped before.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// As [`Store::join_instance`].
    pub async fn stop_instance(&self, key: &InstanceKey) -> Result<bool, Error> {
        transaction!(self, "COMMIT", |conn| stop(conn, key))
    }

    /// Takes the row out, whoever holds it.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// As [`Store::join_instance`].
    pub async fn remove_instance(&self, key: &InstanceKey) -> Result<bool, Error> {
        transaction!(self, "COMMIT", |conn| remove(conn, key))
    }

    /// Takes out some of the rows that nobody was heard of for so long. Returns how many.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// As [`Store::join_instance`].
    pub async fn collect_instances(
        &self,
        kind: InstanceKind,
        after_ms: i64,
    ) -> Result<usize, Error> {
        transaction!(self, "COMMIT", |conn| collect(conn, kind, after_ms))
    }
}

async fn all<C: Dialect>(connection: &mut C) -> Result<Vec<Columns>, Error>
where
    Columns: QueryableByName<C::Backend>,
{
    let now = C::NOW_MS;
    let ask = format!(
        "SELECT kind, name, host, port, url, run, incarnation, stopped, {now} - seen_at AS age_ms, \
         lease_until - {now} AS left_ms, registered_at, seen_at, facts FROM model_instances \
         ORDER BY kind, name, host, port LIMIT {MOST_READ}"
    );
    connection.rows(&ask, &[]).await
}

const KEY: &str = "kind = ? AND name = ? AND host = ? AND port = ?";

fn key_values(key: &InstanceKey) -> [Value<'_>; 4] {
    [
        Value::Text(key.kind.as_str()),
        Value::Text(&key.name),
        Value::Text(&key.host),
        Value::Number(i64::from(key.port)),
    ]
}

async fn join<C: Dialect>(connection: &mut C, joining: &Joining) -> Result<Joined, Error>
where
    Holder: QueryableByName<C::Backend>,
    Neighbour: QueryableByName<C::Backend>,
{
    if let Some(name) = address::holder(connection, joining).await? {
        return Ok(Joined::Held(name));
    }
    if take(connection, joining).await? {
        return held(connection, joining).await;
    }
    let known = is_known(connection, &joining.key).await?;
    if !known && is_full(connection, joining.key.kind).await? {
        return Ok(Joined::Full);
    }
    if !known && insert(connection, joining).await? {
        return Ok(Joined::As(1));
    }
    // Somebody else's, or entered by the same through another router at this moment.
    held(connection, joining).await
}

/// Routers are counted apart: no number of agents keeps one out. Of them those count that are there.
async fn is_full<C: Dialect>(connection: &mut C, kind: InstanceKind) -> Result<bool, Error> {
    let router = Value::Text(InstanceKind::Router.as_str());
    let (most, which) = match kind {
        InstanceKind::Router => {
            let alive = format!("kind = ? AND stopped = 0 AND lease_until > {}", C::NOW_MS);
            (MAX_ROUTERS, alive)
        }
        InstanceKind::Agent | InstanceKind::Worker => (MAX_INSTANCES, "kind <> ?".to_owned()),
    };
    let count = format!("SELECT COUNT(*) AS number FROM model_instances WHERE {which}");
    let there = connection.numbers(&count, &[router]).await?;
    Ok(there >= vec![i64::try_from(most).unwrap_or(i64::MAX)])
}

/// Takes a row that is there: its holder's own, one whose lease is over, or one of the same address.
async fn take<C: Dialect>(connection: &mut C, joining: &Joining) -> Result<bool, Error> {
    let now = C::NOW_MS;
    // The incarnation first: MySQL assigns from the left, and reads what it has assigned.
    let take = format!(
        "UPDATE model_instances SET \
         incarnation = CASE WHEN run = ? AND stopped = 0 THEN incarnation ELSE incarnation + 1 END, \
         registered_at = CASE WHEN run = ? AND stopped = 0 THEN registered_at ELSE {now} END, \
         run = ?, url = ?, stopped = 0, seen_at = {now}, lease_until = {now} + ?, facts = ? \
         WHERE {KEY} AND (run = ? OR url = ? OR stopped = 1 OR lease_until <= {now})"
    );
    let mut values = vec![
        Value::Text(&joining.run),
        Value::Text(&joining.run),
        Value::Text(&joining.run),
        Value::Text(&joining.url),
        Value::Number(joining.lease_ms),
        Value::Text(&joining.facts),
    ];
    values.extend(key_values(&joining.key));
    values.extend([Value::Text(&joining.run), Value::Text(&joining.url)]);
    Ok(connection.run(&take, &values).await? > 0)
}

async fn insert<C: Dialect>(connection: &mut C, joining: &Joining) -> Result<bool, Error> {
    let now = C::NOW_MS;
    let (start, end) = C::INSERT_ABSENT;
    let insert = format!(
        "{start} INTO model_instances (kind, name, host, port, url, run, incarnation, stopped, \
         registered_at, seen_at, lease_until, facts) \
         VALUES (?, ?, ?, ?, ?, ?, 1, 0, {now}, {now}, {now} + ?, ?){end}"
    );
    let mut values = key_values(&joining.key).to_vec();
    values.extend([
        Value::Text(&joining.url),
        Value::Text(&joining.run),
        Value::Number(joining.lease_ms),
        Value::Text(&joining.facts),
    ]);
    Ok(connection.run(&insert, &values).await? > 0)
}

/// Who holds it now.
async fn held<C: Dialect>(connection: &mut C, joining: &Joining) -> Result<Joined, Error>
where
    Holder: QueryableByName<C::Backend>,
{
    let ask = format!("SELECT run, url, incarnation FROM model_instances WHERE {KEY}");
    let holders: Vec<Holder> = connection.rows(&ask, &key_values(&joining.key)).await?;
    match holders.into_iter().next() {
        Some(holder) if holder.run == joining.run => Ok(Joined::As(holder.incarnation)),
        Some(holder) => Ok(Joined::Taken(holder.url)),
        // It was there a moment ago.
        None => Err(Error::Contended(
            "an entry was removed while it was taken".to_owned(),
        )),
    }
}

async fn is_known<C: Dialect>(connection: &mut C, key: &InstanceKey) -> Result<bool, Error> {
    let ask = format!("SELECT COUNT(*) AS number FROM model_instances WHERE {KEY}");
    Ok(connection.numbers(&ask, &key_values(key)).await? != [0])
}

async fn renew<C: Dialect>(
    connection: &mut C,
    joined: &Joining,
    incarnation: i64,
) -> Result<Renewed, Error> {
    let now = C::NOW_MS;
    let renew = format!(
        "UPDATE model_instances SET seen_at = {now}, lease_until = {now} + ?, stopped = ?, facts = ? \
         WHERE {KEY} AND run = ? AND incarnation = ? AND stopped = 0"
    );
    let mut values = vec![
        Value::Number(joined.lease_ms),
        Value::Number(i64::from(joined.lease_ms == 0)),
        Value::Text(&joined.facts),
    ];
    values.extend(key_values(&joined.key));
    values.extend([Value::Text(&joined.run), Value::Number(incarnation)]);
    if connection.run(&renew, &values).await? > 0 {
        return Ok(Renewed::Yes);
    }
    Ok(match is_known(connection, &joined.key).await? {
        true => Renewed::Over,
        false => Renewed::Unknown,
    })
}

async fn beat<C: Dialect>(connection: &mut C, joining: &Joining) -> Result<Joined, Error>
where
    Holder: QueryableByName<C::Backend>,
    Neighbour: QueryableByName<C::Backend>,
{
    let now = C::NOW_MS;
    let beat = format!(
        "UPDATE model_instances SET seen_at = {now}, \
         lease_until = CASE WHEN stopped = 0 THEN {now} + ? ELSE lease_until END \
         WHERE {KEY}"
    );
    let mut values = vec![Value::Number(joining.lease_ms)];
    values.extend(key_values(&joining.key));
    match connection.run(&beat, &values).await? {
        0 => join(connection, joining).await,
        _ => held(connection, joining).await,
    }
}

async fn stop<C: Dialect>(connection: &mut C, key: &InstanceKey) -> Result<bool, Error> {
    let now = C::NOW_MS;
    let stop = format!(
        "UPDATE model_instances SET stopped = 1, seen_at = {now}, lease_until = {now} \
         WHERE {KEY} AND stopped = 0"
    );
    Ok(connection.run(&stop, &key_values(key)).await? > 0)
}

async fn remove<C: Dialect>(connection: &mut C, key: &InstanceKey) -> Result<bool, Error> {
    let remove = format!("DELETE FROM model_instances WHERE {KEY}");
    Ok(connection.run(&remove, &key_values(key)).await? > 0)
}

async fn collect<C: Dialect>(
    connection: &mut C,
    kind: InstanceKind,
    after_ms: i64,
) -> Result<usize, Error> {
    let now = C::NOW_MS;
    let is_over = format!("kind = ? AND seen_at < {now} - ? AND lease_until < {now} - ?");
    let found = format!(
        "SELECT seen_at FROM model_instances WHERE {is_over} ORDER BY seen_at LIMIT {STEP}"
    );
    let over = [
        Value::Text(kind.as_str()),
        Value::Number(after_ms),
        Value::Number(after_ms),
    ];
    // The last of these that go.
    let Some(until) = connection.numbers(&found, &over).await?.pop() else {
        return Ok(0);
    };
    let delete = format!("DELETE FROM model_instances WHERE {is_over} AND seen_at <= ?");
    let values: Vec<_> = over.into_iter().chain([Value::Number(until)]).collect();
    connection.run(&delete, &values).await
}
