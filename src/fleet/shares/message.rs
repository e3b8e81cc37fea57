//! The messages of the actor that keeps this router's shares.

use std::sync::Arc;

use crate::cluster::slots::{Failure, Reply};
use crate::fleet::slot_pool::SlotPool;
use crate::supervision;

/// The mailbox.
#[derive(Debug)]
pub enum Message {
    /// From a request: the share is used up, or a slot has come back that others wait for.
    Touched(Arc<SlotPool>),
    /// From an endpoint: a model is listed there for the first time.
    Made(Arc<SlotPool>),
    /// From another router, by the ledger: there is something to learn.
    Wake,
    /// From the task that called the ledger.
    Answered {
        /// Which call.
        number: i64,
        /// What came of it.
        reply: Result<Reply, Failure>,
    },
    /// The router ends.
    Leave(supervision::Reply<()>),
    /// From the task that said so.
    Left(supervision::Reply<()>),
}
