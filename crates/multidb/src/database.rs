//! How one database is named: an identity that is never used twice, and a name for people.

use std::fmt;
use std::sync::Arc;

/// One database of one client. Counted up, so that what was said about a removed database can
/// never be taken for something about its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseId(pub(crate) u64);

impl DatabaseId {
    /// The number itself, for a log or a label.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for DatabaseId {
    /// For a number that came back from outside (an admin call); whether it exists is checked where
    /// it is used.
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A database as events and errors speak of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    /// Unique in this client, for ever.
    pub id: DatabaseId,
    /// As configured, else `host:port`. No secrets, not necessarily unique.
    pub name: Arc<str>,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
