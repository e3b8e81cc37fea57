//! Why an agent ends by itself.

use thiserror::Error;

use crate::upstream::InvalidTarget;

/// The reason.
#[derive(Debug, Error)]
pub enum Error {
    /// What was asked for cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// An address that no request can be sent to.
    #[error(transparent)]
    Address(#[from] InvalidTarget),
    /// A router does not let it register, and the same would happen again.
    #[error("not registered: {0}")]
    Refused(String),
    /// No router could be told anything.
    #[error("no router can be reached: {0}")]
    Unreachable(String),
}
