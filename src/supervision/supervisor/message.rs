//! The messages of a supervisor.

use super::child::Child;
use super::{Id, StartError};
use crate::supervision::Reply;

/// Through its handle, through guards, and by itself; that a child has ended comes from the actor
/// library.
pub(super) enum Message {
    /// Start this child, keep it running, and say how the first start went.
    Add(Id, Child, Option<Reply<Result<(), StartError>>>),
    /// Stop this child for good, and say when it has ended.
    Remove(Id, Option<Reply<()>>),
    /// The pause after a child has ended is over: start it again.
    Restart(Id),
    /// Restart none from now on.
    StopRestarting(Reply<()>),
    /// Stop all, the last one first, and say when they have ended.
    Stop(Reply<()>),
}
