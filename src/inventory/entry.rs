//! A server as it is wanted.

use crate::config::Endpoint;
use crate::fleet::Drain;

/// A server that is wanted, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is said of it.
    pub endpoint: Endpoint,
    /// Who said it.
    pub source: Source,
    /// What of it takes nothing new.
    pub drain: Drain,
    /// Grows with every change of one that was added.
    pub version: i64,
    /// Bytes of its graphics memory, if its agent says so.
    pub memory: Option<u64>,
}

/// Who wants a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration, or a file that it names.
    Configured,
    /// An operator, while routers ran.
    Added,
    /// Its agent, for as long as it is there.
    Registered,
    /// A name that leads to it.
    Found,
}

impl Source {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "config",
            Self::Added => "admin",
            Self::Registered => "agent",
            Self::Found => "dns",
        }
    }
}
