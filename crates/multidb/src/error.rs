//! The errors of a command, or of a request about the databases.
//!
//! Commands answer with [`redis::RedisError`], because everything written for one does. An error of
//! this client travels inside it and is found again with [`Error::of`]; its I/O kind stays, so
//! `is_timeout()` and `is_connection_dropped()` stay correct.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use redis::RedisError;

use super::config::Invalid;
use super::database::{Database, DatabaseId};

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No database can take commands at the moment. The command was not sent. Worth another try.
    #[error("no database available for {}", Seconds(*.down_for))]
    TemporarilyUnavailable {
        /// How long it has been so.
        down_for: Duration,
    },
    /// No database could take commands for `failover_attempts` × `failover_delay`. The command was
    /// not sent.
    #[error("no valid database, for {}", Seconds(*.down_for))]
    NoValidDatabase {
        /// How long it has been so.
        down_for: Duration,
    },
    /// The command was sent, but not answered, and must not be repeated unasked: whether it was
    /// carried out is not known.
    #[error("outcome unknown on {database}: {source}")]
    OutcomeUnknown {
        /// Where it was sent.
        database: Database,
        /// What came instead of an answer.
        source: RedisError,
    },
    /// The shared handle does not support this command: it changes or occupies one connection, and that
    /// would be another one after a failover. It was not sent.
    #[error("{command} is not possible on a shared handle: {instead}")]
    Unsupported {
        /// The command's name.
        command: String,
        /// What to use.
        instead: &'static str,
    },
    /// The client has been closed.
    #[error("the client is closed")]
    Closed,
    /// Too few databases were healthy for the policy.
    #[error("{healthy} of {total} databases are healthy, too few to start")]
    InitialHealthCheckFailed {
        /// How many were.
        healthy: usize,
        /// How many there are.
        total: usize,
    },
    /// There is no such database, or no longer.
    #[error("there is no database {0}")]
    UnknownDatabase(DatabaseId),
    /// A database that is not healthy cannot be chosen; it can be forced.
    #[error("{database} is not healthy: {reason}")]
    Unhealthy {
        /// Which.
        database: Database,
        /// What its check said.
        reason: String,
    },
    /// The active database is not removed while no other could take its place.
    #[error("{0} is active and no other database could take its place")]
    StillNeeded(Database),
    /// An invalid option.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A connection of its own (pinned, pub/sub) could not be made.
    #[error("no connection to {database}: {source}")]
    Connect {
        /// To whom.
        database: Database,
        /// Why.
        source: RedisError,
    },
}

impl Error {
    /// The error of this client inside one of the driver's, if it is there.
    pub fn of(error: &RedisError) -> Option<&Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    /// Whether the command certainly had no effect.
    pub fn was_not_sent(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown { .. })
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::OutcomeUnknown { source, .. } | Self::Connect { source, .. } => {
                if source.is_timeout() {
                    io::ErrorKind::TimedOut
                } else {
                    io::ErrorKind::ConnectionAborted
                }
            }
            Self::Unsupported { .. } => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        }
    }
}

impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), Wrapper(error)).into()
    }
}

/// An `io::Error` answers `source()` with the source of what it holds, skipping that itself: one
/// more layer, and it is found.
#[derive(Debug)]
struct Wrapper(Error);

impl fmt::Display for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Wrapper {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// A duration for people.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_inside_the_drivers() {
        let error = Error::TemporarilyUnavailable {
            down_for: Duration::from_millis(1500),
        };
        let inside = RedisError::from(error);
        assert_eq!(inside.to_string(), "no database available for 1.5 s");
        assert!(matches!(
            Error::of(&inside),
            Some(Error::TemporarilyUnavailable { down_for }) if down_for.as_millis() == 1500
        ));
        assert!(Error::of(&RedisError::from(io::Error::other("else"))).is_none());
    }

    #[test]
    fn a_timeout_stays_one_when_its_outcome_is_unknown() {
        let error = Error::OutcomeUnknown {
            database: Database {
                id: DatabaseId(1),
                name: "a".into(),
            },
            source: io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        assert!(!error.was_not_sent());
        let inside = RedisError::from(error);
        assert!(inside.is_timeout());
        assert!(Error::of(&inside).is_some());
    }
}
