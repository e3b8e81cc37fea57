//! The messages of the registrar.

use crate::store::{Error, InstanceRow, Joined, Renewed};
use crate::supervision::Reply;

/// The mailbox of the registrar.
#[derive(Debug)]
pub enum Message {
    /// Something was written through this router that is to be seen at once.
    Changed,
    /// Something could not be written.
    Failed,
    /// From the task that read them.
    Read {
        /// Which reading.
        number: u64,
        /// What it found.
        rows: Result<Vec<InstanceRow>, Error>,
    },
    /// From the task that registered this router.
    Entered(Result<Joined, Error>),
    /// From the task that renewed its registration.
    Renewed(Result<Renewed, Error>),
    /// From the task that took out who was not heard of for long.
    Collected(Result<usize, Error>),
    /// The router ends.
    Leave(Reply<()>),
    /// From the task that ended its registration.
    Left(Reply<()>),
}
