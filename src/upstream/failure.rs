//! What can go wrong before the first byte of an answer.

use std::error::Error as StdError;
use std::io;

use thiserror::Error;

/// Why one try on one server got no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Nothing listens there, or the host cannot be reached.
    #[error("connection refused: {0}")]
    Refused(String),
    /// No connection within `connect_timeout`.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The connection broke, or ended, before the first byte of an answer.
    #[error("connection closed before an answer: {0}")]
    Closed(String),
    /// Connected, but no byte for longer than allowed.
    #[error("no answer in time")]
    Silent,
    /// The endpoint was found down while this request waited for its first byte.
    #[error("endpoint found down while waiting for it")]
    Ejected,
    /// The router itself has run out of something (file descriptors, ports): says nothing about the
    /// server.
    #[error("the router has no resources to connect: {0}")]
    Local(String),
    /// An answer that cannot be used, and why.
    #[error("{0}")]
    Unusable(String),
    /// An answer that is not HTTP, or larger than we read.
    #[error("not understood: {0}")]
    Garbled(String),
}

impl Failure {
    /// True when the server never got the request: it cannot be connected to.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::ConnectTimeout)
    }

    /// A short word for logs and labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Closed(_) => "closed",
            Self::Silent => "silent",
            Self::Ejected => "ejected",
            Self::Local(_) => "local",
            Self::Unusable(_) => "unusable",
            Self::Garbled(_) => "garbled",
        }
    }

    /// Why there is no connection.
    pub(super) fn from_connector(error: &(dyn StdError + 'static)) -> Self {
        match io_error(error) {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => Self::ConnectTimeout,
            Some(cause) if is_local(cause) => Self::Local(cause.to_string()),
            _ => Self::Refused(root_cause(error)),
        }
    }

    /// Why there is no answer over a connection.
    pub(super) fn from_exchange(error: &hyper::Error) -> Self {
        if error.is_parse() && !error.is_incomplete_message() {
            Self::Garbled(root_cause(error))
        } else {
            Self::Closed(root_cause(error))
        }
    }
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn StdError + 'static)| {
        (*cause).source()
    })
}

fn io_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>())
}

/// Out of files, of ports, of memory for sockets: `EMFILE`, `ENFILE`, `EADDRNOTAVAIL`, `ENOBUFS`.
fn is_local(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    const ENOBUFS: i32 = 105;
    matches!(
        error.raw_os_error(),
        Some(ENFILE | EMFILE | EADDRNOTAVAIL | ENOBUFS)
    )
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}
