//! Why a call was not done.

use http::StatusCode;
use thiserror::Error;

use super::jobs::NotStarted;
use super::merge::Failed;
use super::targets::NoTarget;
use crate::protocol::BadRequest;

/// The status and the words of an answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{words}")]
pub struct Error {
    /// The status.
    pub status: StatusCode,
    /// The words.
    pub words: String,
}

impl Error {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
        }
    }

    pub(super) fn wrong(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(super) fn missing(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    pub(super) fn busy(why: &str) -> Self {
        let words = format!("server busy, please try again.  {why}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    pub(super) fn closing() -> Self {
        let words = "server is shutting down, please try again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    pub(super) fn interrupted() -> Self {
        let words = "the router has lost this call; please try again";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }
}

impl From<BadRequest> for Error {
    fn from(error: BadRequest) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

impl From<NoTarget> for Error {
    fn from(none: NoTarget) -> Self {
        let status = match none {
            NoTarget::Unknown(_) | NoTarget::OtherKind(_) => StatusCode::BAD_REQUEST,
            NoTarget::NotYours(_) | NoTarget::NoneYours => StatusCode::FORBIDDEN,
            NoTarget::Away(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, none.to_string())
    }
}

impl From<NotStarted> for Error {
    fn from(not_started: NotStarted) -> Self {
        match not_started {
            NotStarted::Full => Self::busy("too many models are being pulled or created"),
            NotStarted::Restarting => Self::interrupted(),
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let status = failed.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, failed.words)
    }
}
