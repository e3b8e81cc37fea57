//! What can go wrong before the first byte of an answer.

use std::error::Error as StdError;
use std::io;

use thiserror::Error;

use crate::faults::Fault;

/// Why one try on one server got no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Nothing listens there, or the host cannot be reached.
    #[error("connection refused: {0}")]
    Refused(String),
    /// No connection: its name does not resolve, or TLS is not agreed on.
    #[error("no connection: {0}")]
    NotConnected(String),
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
    /// An answer with this status that refuses the router itself, and why.
    #[error("{1}")]
    Rejected(u16, String),
    /// Its answer has come from this router itself, over however many others.
    #[error("loop: its answers come from this router itself")]
    Loop,
    /// An answer that is not HTTP, or larger than we read.
    #[error("not understood: {0}")]
    Garbled(String),
}

impl Failure {
    /// True when there was a connection.
    #[must_use]
    pub fn was_connected(&self) -> bool {
        !matches!(
            self,
            Self::Refused(_) | Self::NotConnected(_) | Self::ConnectTimeout
        )
    }

    /// What it says of the server. `None` when it says nothing: the failure is the router's own.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Local(_) => None,
            Self::Refused(_) => Some(Fault::Refused),
            Self::NotConnected(_) | Self::ConnectTimeout => Some(Fault::NotConnected),
            Self::Silent => Some(Fault::Silent),
            Self::Ejected => Some(Fault::Ejected),
            Self::Rejected(status, _) => Some(Fault::Rejected(*status)),
            Self::Loop => Some(Fault::Loop),
            Self::Closed(_) | Self::Unusable(_) | Self::Garbled(_) => Some(Fault::Broken),
        }
    }

    /// A short word for logs and labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NotConnected(_) => "not_connected",
            Self::ConnectTimeout => "connect_timeout",
            Self::Closed(_) => "closed",
            Self::Silent => "silent",
            Self::Ejected => "ejected",
            Self::Local(_) => "local",
            Self::Unusable(_) => "unusable",
            Self::Rejected(..) => "rejected",
            Self::Loop => "loop",
            Self::Garbled(_) => "garbled",
        }
    }

    /// Why there is no connection.
    pub(super) fn from_connector(error: &(dyn StdError + 'static)) -> Self {
        match io_error(error) {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => Self::ConnectTimeout,
            Some(cause) if is_local(cause) => Self::Local(cause.to_string()),
            Some(cause) if is_refused(cause) => Self::Refused(root_cause(error)),
            _ => Self::NotConnected(root_cause(error)),
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

/// The host itself says, or a router on the way, that nothing is there.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
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
