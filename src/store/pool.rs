//! Which database it is: one variant for each kind we speak.
//!
//! A query is written once, as the body of [`read!`], and the compiler checks it against each kind.

use std::path::Path;

use super::error::Error;
use super::{SQLITE_FILE, sqlite};

/// Connections to one database.
#[derive(Debug)]
pub(super) enum Pool {
    /// A file on this machine.
    Sqlite(sqlite::Database),
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
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        Err(Error::Unsupported(scheme.to_owned()))
    }
}

/// Runs one reading query on whatever database it is: `read!(store, |conn| query.load(conn))`.
macro_rules! read {
    ($store:expr, |$conn:ident| $query:expr) => {
        match &*$store.pool {
            $crate::store::pool::Pool::Sqlite(database) => {
                let mut object = database.reader().await?;
                let $conn = &mut *object;
                Ok($query.await?)
            }
        }
    };
}

pub(super) use read;
