//! What the lease's actor is told.

use tokio::time::Instant;

use super::state::{Asked, Renewed};
use crate::supervision::Reply;

/// By the tasks that ask Redis, and through its handle.
#[derive(Debug)]
pub(super) enum Message {
    /// What Redis said to the request sent at that moment.
    Asked(Instant, Asked),
    /// What Redis said to the renewal sent at that moment.
    Renewed(Instant, Renewed),
    /// It is given back, or was never ours, or Redis cannot be told.
    Released,
    /// A higher epoch than ours may be in use.
    Surpassed(u64),
    /// Give it back, and say when.
    Resign(Reply<()>),
}
