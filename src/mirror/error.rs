//! Why something cannot be had from the mirror.

use std::sync::Arc;

use thiserror::Error;

use super::digest::Digest;
use crate::upstream::Failure;

/// Cheap to clone: everybody who waits for a blob is told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The registry has no such model. Ollama's words.
    #[error("file does not exist")]
    NotThere,
    /// No answer, or half of one; it is tried again for a while.
    #[error("the registry cannot be reached: {0}")]
    Away(Arc<str>),
    /// It refuses.
    #[error("the registry answered {0}")]
    Refused(u16),
    /// It leads nowhere.
    #[error("the registry redirects without an end: {0}")]
    Redirects(Arc<str>),
    /// Its answer is not what was asked for.
    #[error("the registry's answer is not understood: {0}")]
    Garbled(Arc<str>),
    /// It lacks what belongs to a model that it has.
    #[error("the registry does not have {0}, which its manifest names")]
    Missing(Digest),
    /// Two of its answers contradict one another.
    #[error(
        "the registry lies about the length of {digest}: {said} bytes, and {told} in the manifest"
    )]
    Length {
        /// The blob.
        digest: Digest,
        /// By its manifest.
        told: u64,
        /// By the blob's own answer.
        said: u64,
    },
    /// What it sent is not what it was asked for.
    #[error("the registry lies about a digest: what it sent as {digest} is {found}")]
    Lied {
        /// What was asked for.
        digest: Digest,
        /// What came.
        found: Digest,
    },
    /// The model alone is larger than the cache may be.
    #[error("the model has {needs} bytes and the cache may have {limit} (models.cache_size)")]
    TooLarge {
        /// Bytes of all its blobs.
        needs: u64,
        /// Bytes of the cache.
        limit: u64,
    },
    /// Everything that is in the cache is in use.
    #[error(
        "the cache has no room for {needs} bytes more while other models are pulled (models.cache_size)"
    )]
    NoRoom {
        /// Bytes that are needed.
        needs: u64,
    },
    /// The disk, in the system's words.
    #[error("the mirror's cache: {0}")]
    Disk(Arc<str>),
    /// No manifest that was asked for lately names it.
    #[error("no model that was asked for has {0}")]
    Unknown(Digest),
    /// Too much at once.
    #[error("too many {0} at once, please try again")]
    Busy(&'static str),
    /// The owner of the downloads has been restarted.
    #[error("the router has lost this download; please try again")]
    Interrupted,
}

impl Error {
    /// A further try may do better.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Away(_) => true,
            Self::Refused(status) => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    pub(super) fn away(why: impl ToString) -> Self {
        Self::Away(why.to_string().into())
    }

    pub(super) fn garbled(why: impl ToString) -> Self {
        Self::Garbled(why.to_string().into())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error.to_string().into())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Loop | Failure::Garbled(_) | Failure::Unusable(_) => Self::garbled(failure),
            failure => Self::away(failure),
        }
    }
}
