//! `accounts` and `prices`: who may use what, and what it costs. `access_version` says up to which
//! number they have changed.
//!
//! Every change, wherever it is made, first raises the one number in `access_version` and holds that
//! row until it commits. So changes get their numbers in the order in which they become visible,
//! and whoever has seen everything up to a number finds the rest by asking for what is above it: no
//! change can appear below it. What is deleted stays as a row that says so, for the same reason.

mod named;
mod prices;
mod row;
mod schema;
mod spent;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

pub use spent::BudgetKey;

use super::Store;
use super::dialect::{Dialect, Value};
use super::error::Error;
use super::pool::{read, transaction};
use crate::domain::{Account, AccountKind, ModelName, Price};
use row::AccountRow;
use schema::{access_version, accounts};

/// What has changed above a number.
#[derive(Debug)]
pub struct AccountChanges {
    /// Everything up to this number is in it, or was before.
    pub version: i64,
    /// Accounts, as they are now.
    pub accounts: Vec<AccountChange>,
    /// Prices, as they are now.
    pub prices: Vec<PriceChange>,
}

/// A price as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceChange {
    /// The model, as it stands in the database.
    pub row: String,
    /// What it says: a price, or that there is none any more. Nothing, if it is not understood.
    pub says: Option<(ModelName, Option<Price>)>,
}

/// An account as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// It is there.
    Put(Box<Account>),
    /// It was deleted.
    Gone(AccountKind, String),
}

/// An account and the number of its last change, which tells whether somebody else changed it
/// meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it says.
    pub account: Account,
    /// The number.
    pub version: i64,
}

/// What must hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is none of that id.
    Absent,
    /// It still has this number.
    Version(i64),
}

/// Whether a change was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It was, under this number.
    As(i64),
    /// It was not: its precondition does not hold, or not any more.
    Stale,
    /// It was not: the account names one that does not exist.
    Lacks(AccountKind, String),
}

/// Whether an account was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was, under this number.
    As(i64),
    /// There is none.
    Missing,
    /// It was not: so many others name it.
    Named(i64),
}

impl Store {
    /// Everything that has changed above `since`, deleted accounts included. One row is read when
    /// nothing has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn account_changes(&self, since: i64) -> Result<AccountChanges, Error> {
        let version: Result<Vec<i64>, Error> = read!(self, |conn| access_version::table
            .select(access_version::version)
            .load(conn));
        // What commits from here on may be found as well, and will be found once more.
        let version = version?.into_iter().max().unwrap_or_default();
        if version <= since {
            return Ok(AccountChanges {
                version,
                accounts: Vec::new(),
                prices: Vec::new(),
            });
        }
        let rows: Result<Vec<AccountRow>, Error> = read!(self, |conn| accounts::table
            .select(AccountRow::as_select())
            .filter(accounts::version.gt(since))
            .order(accounts::version)
            .load(conn));
        Ok(AccountChanges {
            version,
            accounts: rows?.into_iter().filter_map(AccountRow::change).collect(),
            prices: self.price_changes(since).await?,
        })
    }

    /// One account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn account(&self, kind: AccountKind, id: &str) -> Result<Option<Stored>, Error> {
        let rows: Result<Vec<AccountRow>, Error> = read!(self, |conn| accounts::table
            .select(AccountRow::as_select())
            .filter(accounts::kind.eq(kind.as_str()))
            .filter(accounts::id.eq(id))
            .filter(accounts::deleted_at.is_null())
            .load(conn));
        Ok(rows?.into_iter().next().and_then(AccountRow::stored))
    }

    /// The accounts of a kind with ids above `after`, by id, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn accounts(
        &self,
        kind: AccountKind,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Stored>, Error> {
        let rows: Result<Vec<AccountRow>, Error> = read!(self, |conn| accounts::table
            .select(AccountRow::as_select())
            .filter(accounts::kind.eq(kind.as_str()))
            .filter(accounts::id.gt(after))
            .filter(accounts::deleted_at.is_null())
            .order(accounts::id)
            .limit(i64::from(limit))
            .load(conn));
        Ok(rows?.into_iter().filter_map(AccountRow::stored).collect())
    }

    /// Makes or changes an account. What it names has to exist.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn save_account(
        &self,
        account: &Account,
        precondition: Precondition,
    ) -> Result<Saved, Error> {
        transaction!(self, "COMMIT", |conn| save(conn, account, precondition))
    }

    /// Deletes an account that no other names. What it spent stays. `now` is Unix seconds.
    ///
    /// Must not be cancelled half-way: run it in a task of its own.
    ///
    /// # Errors
    /// When the transaction failed, or when it is not known whether it did.
    pub async fn delete_account(
        &self,
        kind: AccountKind,
        id: &str,
        now: i64,
    ) -> Result<Deleted, Error> {
        transaction!(self, "COMMIT", |conn| delete(conn, kind, id, now))
    }
}

/// The number of this transaction's changes.
async fn next_version<C: Dialect>(connection: &mut C) -> Result<i64, Error> {
    let raise = "UPDATE access_version SET version = version + 1 WHERE singleton = 1";
    connection.run(raise, &[]).await?;
    let ask = "SELECT version AS number FROM access_version WHERE singleton = 1";
    let numbers = connection.numbers(ask, &[]).await?;
    Ok(numbers.into_iter().next().unwrap_or_default())
}

async fn save<C: Dialect>(
    connection: &mut C,
    account: &Account,
    precondition: Precondition,
) -> Result<Saved, Error> {
    let version = next_version(connection).await?;
    let key = [Value::Text(account.kind.as_str()), Value::Text(&account.id)];
    let ask = "SELECT CASE WHEN deleted_at IS NULL THEN version ELSE -1 END AS number \
        FROM accounts WHERE kind = ? AND id = ?";
    let found = connection.numbers(ask, &key).await?.into_iter().next();
    // What was not understood would be lost.
    let fits = account.understood
        && match precondition {
            Precondition::Absent => found.is_none_or(|version| version < 0),
            Precondition::Version(version) => found == Some(version),
        };
    if !fits {
        return Ok(Saved::Stale);
    }
    if let Some((kind, id)) =
        named::lacking(connection, account, precondition != Precondition::Absent).await?
    {
        return Ok(Saved::Lacks(kind, id));
    }
    let texts = row::Texts::of(account);
    let columns = row::columns(account, &texts, version);
    let values = columns.iter().filter_map(|(_, value)| *value);
    // Columns that a newer version has added keep what they say.
    if let Precondition::Version(_) = precondition {
        let set: Vec<_> = columns
            .iter()
            .map(|(name, value)| format!("{name} = {}", mark(value.as_ref())))
            .collect();
        let update = format!(
            "UPDATE accounts SET {} WHERE kind = ? AND id = ?",
            set.join(", ")
        );
        let values: Vec<_> = values.chain(key).collect();
        connection.run(&update, &values).await?;
        return Ok(Saved::As(version));
    }
    if found.is_some() {
        let forget = "DELETE FROM accounts WHERE kind = ? AND id = ?";
        connection.run(forget, &key).await?;
    }
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let marks: Vec<_> = columns
        .iter()
        .map(|(_, value)| mark(value.as_ref()))
        .collect();
    let insert = format!(
        "INSERT INTO accounts ({}) VALUES ({})",
        names.join(", "),
        marks.join(", ")
    );
    connection.run(&insert, &values.collect::<Vec<_>>()).await?;
    Ok(Saved::As(version))
}

fn mark(value: Option<&Value<'_>>) -> &'static str {
    if value.is_some() { "?" } else { "NULL" }
}

async fn delete<C: Dialect>(
    connection: &mut C,
    kind: AccountKind,
    id: &str,
    now: i64,
) -> Result<Deleted, Error> {
    let version = next_version(connection).await?;
    if !named::exists(connection, kind, id).await? {
        return Ok(Deleted::Missing);
    }
    let names = named::by(connection, kind, id).await?;
    if names > 0 {
        return Ok(Deleted::Named(names));
    }
    let mark = "UPDATE accounts SET deleted_at = ?, version = ? WHERE kind = ? AND id = ?";
    let values = [
        Value::Number(now),
        Value::Number(version),
        Value::Text(kind.as_str()),
        Value::Text(id),
    ];
    connection.run(mark, &values).await?;
    Ok(Deleted::As(version))
}
