//! Messages of the actor that owns the shares.

use std::sync::Arc;

use super::Short;
use crate::access::meter::{Cell, Taken};
use crate::access::rule::{self, Failure};
use crate::supervision::Reply;

/// The mailbox.
#[derive(Debug)]
pub enum Message {
    /// From a request that found too little: all of this or nothing.
    Take {
        /// What it lacks.
        wants: Vec<(Arc<Cell>, i64)>,
        /// Where it waits.
        reply: Reply<Result<Vec<Taken>, Short>>,
    },
    /// From a request, or from whoever changed a limit: this share is low, or has a debt.
    Touched(Arc<Cell>),
    /// From the task that asked the shared ledger.
    Answered(Result<rule::Reply, Failure>),
}
