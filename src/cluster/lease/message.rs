//! The messages of the lease's actor.

use tokio::time::Instant;

use super::state::{Asked, Renewed};
use crate::supervision::Reply;

/// By the tasks that ask Redis, and through its handle.
#[derive(Debug)]
pub(super) enum Message {
    /// The reply of Redis to the request sent at that moment.
    Asked(Instant, Asked),
    /// The reply of Redis to the renewal sent at that moment.
    Renewed(Instant, Renewed),
    /// It is released, or was never ours, or Redis does not answer.
    Released,
    /// A higher epoch than ours may be in use.
    Superseded(u64),
    /// Release it, and reply when that is done.
    Resign(Reply<()>),
}
