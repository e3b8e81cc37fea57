//! Why the database did not do it.

use std::path::PathBuf;

use diesel_async::pooled_connection::deadpool::PoolError;

/// A failed database call. Nothing of it was applied, unless it is [`Error::Gone`] or a lost
/// connection during COMMIT: then it is unknown, and asking again is safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names a database we do not speak.
    #[error("store.url: `{0}` is not a supported kind of database")]
    Unsupported(String),
    /// The folder or file cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was removed or replaced while we used it.
    #[error("{}: the database file was removed or replaced while in use", .0.display())]
    Gone(PathBuf),
    /// No connection.
    #[error("no database connection: {0}")]
    Connect(String),
    /// The database refused a statement.
    #[error("database: {0}")]
    Query(#[from] diesel::result::Error),
    /// A migration did not run.
    #[error("migration: {0}")]
    Migration(String),
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Connect(error.to_string())
    }
}

impl From<diesel::ConnectionError> for Error {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Connect(error.to_string())
    }
}
