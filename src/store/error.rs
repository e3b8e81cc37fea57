//! Why the database did not do it, told apart by what the caller can do about it.
//!
//! The hardest question is whether the content or the database is at fault. Calling bad data an outage blocks everything behind it
//! for good; calling an outage bad data throws away usage that is perfectly fine. So only what the
//! database itself names as such (SQLSTATE classes 22 and 23) is [`Error::Poison`], and whatever
//! nobody can name stays a plain [`Error::Query`], which is tried again.

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as Diesel};

/// A failed database call. Nothing of it was applied, unless the connection was lost during COMMIT
/// ([`Error::Unavailable`]) or the file was ([`Error::Gone`]): then it is unknown, and asking
/// again is safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names a database that is not supported.
    #[error("store.url: `{0}` is not a supported kind of database")]
    Unsupported(String),
    /// The address cannot be used. Never holds the address itself, which may carry a password.
    #[error("store.url: {0}")]
    Address(String),
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
    /// The database is away, shutting down, read-only, full, or does not answer in time. Repeat later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Others were in the way: a deadlock, a lock held too long, the same batch written by somebody
    /// else at this moment. Repeat at once.
    #[error("the database is busy with others: {0}")]
    Contended(String),
    /// A newer leader has written. A router that gets this is no longer the leader.
    #[error("a newer leader than epoch {epoch} has written to the database")]
    Fenced {
        /// The epoch that is over.
        epoch: u64,
    },
    /// The content is at fault and will be refused again, for ever.
    #[error("the database will never take this: {0}")]
    Poison(String),
    /// The database refused a statement, and not for a reason above.
    #[error("database: {0}")]
    Query(#[from] Diesel),
    /// A migration did not run.
    #[error("migration: {0}")]
    Migration(String),
}

impl Error {
    /// What a SQLSTATE means, with the message that came with it.
    pub(super) fn by_state(state: &str, said: Diesel) -> Self {
        match (state.get(..2).unwrap_or_default(), state) {
            // Only ids are inserted without "or update", and only another writer can have them.
            (_, "23505") => Self::Contended(said.to_string()),
            ("22" | "23", _) => Self::Poison(said.to_string()),
            ("40", _) | (_, "55P03") => Self::Contended(said.to_string()),
            ("08" | "25" | "53" | "57" | "58", _) => Self::Unavailable(said.to_string()),
            _ => Self::Query(said),
        }
    }

    /// What diesel has understood by itself: it knows the constraints, and little else.
    pub(super) fn by_kind(error: Diesel) -> Result<Self, Diesel> {
        use DatabaseErrorKind as Kind;
        let Diesel::DatabaseError(kind, _) = &error else {
            return Ok(Self::Query(error));
        };
        match kind {
            Kind::UniqueViolation | Kind::SerializationFailure => {
                Ok(Self::Contended(error.to_string()))
            }
            Kind::ForeignKeyViolation
            | Kind::RestrictViolation
            | Kind::NotNullViolation
            | Kind::CheckViolation
            | Kind::ExclusionViolation => Ok(Self::Poison(error.to_string())),
            Kind::UnableToSendCommand | Kind::ClosedConnection | Kind::ReadOnlyTransaction => {
                Ok(Self::Unavailable(error.to_string()))
            }
            _ => Err(error),
        }
    }
}

impl From<diesel::ConnectionError> for Error {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(state: &str) -> Error {
        Error::by_state(state, Diesel::NotFound)
    }

    #[test]
    fn a_state_tells_poison_from_an_outage() {
        for state in ["22003", "22021", "22P05", "23514", "23502", "23000"] {
            assert!(matches!(classified(state), Error::Poison(_)), "{state}");
        }
        for state in ["40001", "40P01", "55P03", "23505"] {
            assert!(matches!(classified(state), Error::Contended(_)), "{state}");
        }
        for state in [
            "08006", "53100", "57014", "57P01", "58030", "25006", "25P03",
        ] {
            assert!(
                matches!(classified(state), Error::Unavailable(_)),
                "{state}"
            );
        }
        for state in ["42P01", "42501", "P0001", "45000", "HY000", "XX000", ""] {
            assert!(matches!(classified(state), Error::Query(_)), "{state}");
        }
    }
}
