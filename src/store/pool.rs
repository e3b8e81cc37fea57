//! Which database it is: one variant for each supported kind.
//!
//! A query is written once, as the body of one of the macros here, and the compiler checks it
//! against each kind.

use std::path::Path;

use super::error::Error;
use super::mysql::Mysql;
use super::postgres::Postgres;
use super::server::Server;
use super::{SQLITE_FILE, sqlite};

/// Connections to one database.
#[derive(Debug)]
pub(super) enum Pool {
    /// A file on this machine.
    Sqlite(sqlite::Database),
    /// A server.
    Postgres(Server<Postgres>),
    /// A server of MySQL or MariaDB.
    Mysql(Server<Mysql>),
}

impl Pool {
    pub(super) async fn open(url: &str, data_dir: &Path) -> Result<Self, Error> {
        if url.is_empty() {
            std::fs::create_dir_all(data_dir).map_err(|source| Error::File {
                path: data_dir.to_owned(),
                source,
            })?;
            let database = sqlite::Database::open(data_dir.join(SQLITE_FILE)).await?;
            return Ok(Self::Sqlite(database));
        }
        // The rest of the address may hold a password.
        match url.split_once("://").map_or("", |(scheme, _)| scheme) {
            "postgres" | "postgresql" => Ok(Self::Postgres(Server::new(Postgres::at(url)?)?)),
            "mysql" | "mariadb" => Ok(Self::Mysql(Server::new(Mysql::at(url)?)?)),
            other => Err(Error::Unsupported(other.to_owned())),
        }
    }

    /// Whether others see what was committed before a crash would leave it there.
    pub(super) fn shows_commits_early(&self) -> bool {
        match self {
            Self::Mysql(_) => true,
            // The log is synced first: by the writer of a file, and before a transaction ends.
            Self::Sqlite(_) | Self::Postgres(_) => false,
        }
    }
}

/// Runs one query of diesel's that reads: `read!(store, |conn| query.load(conn))`.
macro_rules! read {
    ($store:expr, |$conn:ident| $query:expr) => {
        $crate::store::pool::reading!($store, |$conn| async {
            $query.await.map_err($crate::store::Error::from)
        })
    };
}

/// Runs work that reads, on a connection that is kept out of the way of those who write.
macro_rules! reading {
    ($store:expr, |$conn:ident| $work:expr) => {
        match &*$store.pool {
            $crate::store::pool::Pool::Sqlite(database) => {
                let mut object = database.reader().await?;
                let $conn = &mut *object;
                $work.await.map_err($crate::store::sqlite::classified)
            }
            $crate::store::pool::Pool::Postgres(server) => {
                $crate::store::pool::on_server!(server.reader(), |$conn| $work)
            }
            $crate::store::pool::Pool::Mysql(server) => {
                $crate::store::pool::on_server!(server.reader(), |$conn| $work)
            }
        }
    };
}

/// Runs work in a transaction that ends as `$end` says. After a failure the connection is closed,
/// which takes everything back wherever it stood.
macro_rules! transaction {
    ($store:expr, $end:expr, |$conn:ident| $work:expr) => {
        match &*$store.pool {
            $crate::store::pool::Pool::Sqlite(database) => {
                let mut writer = database.writer().await?;
                let $conn = writer.connection();
                let outcome = $crate::store::pool::bracketed!($conn, $end, $work).await;
                database.settle(writer, outcome)
            }
            $crate::store::pool::Pool::Postgres(server) => {
                $crate::store::pool::on_server!(server.writer(), |$conn| {
                    $crate::store::pool::bracketed!($conn, $end, $work)
                })
            }
            $crate::store::pool::Pool::Mysql(server) => {
                $crate::store::pool::on_server!(server.writer(), |$conn| {
                    $crate::store::pool::bracketed!($conn, $end, $work)
                })
            }
        }
    };
}

macro_rules! on_server {
    ($checkout:expr, |$conn:ident| $work:expr) => {{
        let mut checkout = $checkout.await?;
        let outcome = {
            let $conn = checkout.connection();
            $crate::store::server::within($crate::store::server::CALL_TIMEOUT, $work).await
        };
        checkout
            .finish(outcome.and_then(std::convert::identity))
            .await
    }};
}

macro_rules! bracketed {
    ($conn:ident, $end:expr, $work:expr) => {
        async {
            $crate::store::dialect::begin($conn).await?;
            let done = $work.await?;
            $crate::store::dialect::end($conn, $end).await?;
            Ok::<_, $crate::store::Error>(done)
        }
    };
}

pub(super) use {bracketed, on_server, read, reading, transaction};
