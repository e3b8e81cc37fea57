//! What routers tell each other.

use serde::{Deserialize, Serialize};

/// News for all other routers. Servers are called by their addresses, which are the same for all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Something in the database is other than it was: accounts, servers, or what drains.
    Changed,
    /// The server does not answer this router.
    Down {
        /// Which server.
        server: String,
    },
    /// The server has answered a probe of this router.
    Probed {
        /// Which server.
        server: String,
        /// What it was asked.
        about: About,
        /// What it said, as far as others need it.
        said: String,
    },
    /// This router has a server load a model.
    Loads {
        /// Which server.
        server: String,
        /// Which model.
        model: String,
        /// After so long, in milliseconds, nobody is to count on it any more.
        for_ms: u64,
    },
    /// It does so no more: the model is loaded, or could not be.
    Loaded {
        /// Which server.
        server: String,
        /// Which model.
        model: String,
        /// Whether it is.
        is: bool,
    },
    /// Requests of this router, of all pools that have some and of those that had some when this was told last.
    Running {
        /// How many, by pool.
        pools: Vec<(String, u32)>,
    },
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

/// What a server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Whether it answers.
    Alive,
    /// What it has in memory: the list.
    Loaded,
    /// What it has: a fingerprint of the list.
    Models,
    /// Its version.
    Version,
}

/// One message: of `Event` as it is sent, and of text as it comes, since one event that is not understood says nothing
/// of the others.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Envelope<'a, E> {
    /// Who tells it.
    #[serde(borrow)]
    pub(super) from: std::borrow::Cow<'a, str>,
    /// In this order.
    pub(super) events: Vec<E>,
}
