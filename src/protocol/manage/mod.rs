//! The calls that change which models servers have: their bodies, and the lines that tell how far one is.
//!
//! Bodies are read by Go's rules, as those of inference are ([`peek`](super::peek())), but into their fields: these
//! calls are few, and the router has to name the model, the blobs and the servers they concern. What is sent
//! on has the same values, as they were written.

mod progress;
mod request;

use http::Method;

pub use progress::{LONGEST_LINE, ProgressLine};
pub use request::{ManageRequest, canonical_digest};

/// One of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManageApi {
    /// `/api/pull`
    Pull,
    /// `/api/push`
    Push,
    /// `/api/create`
    Create,
    /// `/api/copy`
    Copy,
    /// `/api/delete`
    Delete,
}

impl ManageApi {
    /// Its path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Pull => "/api/pull",
            Self::Push => "/api/push",
            Self::Create => "/api/create",
            Self::Copy => "/api/copy",
            Self::Delete => "/api/delete",
        }
    }

    /// Its method.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Delete => Method::DELETE,
            _ => Method::POST,
        }
    }

    /// What is done, as a word in a sentence.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Create => "create",
            Self::Copy => "copy",
            Self::Delete => "delete",
        }
    }

    /// What Ollama calls the type of the body.
    const fn request_type(self) -> &'static str {
        match self {
            Self::Pull => "PullRequest",
            Self::Push => "PushRequest",
            Self::Create => "CreateRequest",
            Self::Copy => "CopyRequest",
            Self::Delete => "DeleteRequest",
        }
    }
}
