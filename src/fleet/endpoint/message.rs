//! What an endpoint's actor is told.

use std::sync::Arc;

use tokio::time::Instant;

use super::Refusal;
use crate::backend::{Answer, Probe};
use crate::fleet::lease::{Lease, Outcome};
use crate::fleet::seat::Seat;
use crate::supervision::Reply;
use crate::upstream::Failure;

/// The mailbox of an endpoint.
#[derive(Debug)]
pub enum Message {
    /// From a request: give it a slot, or say why not.
    Acquire {
        /// The model's seat.
        seat: Arc<Seat>,
        /// Where the lease goes; if the client has left meanwhile, the lease drops on the way.
        reply: Reply<Result<Lease, Refusal>>,
    },
    /// From a watched lease: its answer has begun.
    Answered {
        /// The seat held.
        seat: Arc<Seat>,
    },
    /// From a watched or failed lease: its slot is free again.
    Released {
        /// The seat that was held.
        seat: Arc<Seat>,
        /// How it went.
        outcome: Outcome,
    },
    /// From whoever has reason to doubt what is known: ask this, unless it was asked just now.
    Doubted(Probe),
    /// From the probe's task: the answer.
    Probed {
        /// What was asked.
        probe: Probe,
        /// Which question of that probe.
        question: u64,
        /// When it was asked: what happened since is newer than the answer.
        asked: Instant,
        /// What came back.
        answer: Result<Answer, Failure>,
    },
    /// From the registry: the server begins or ceases to drain.
    Drain,
    /// From the registry: what was asked with the former key, or of the former list, is no answer.
    Outdated,
    /// From a lease that ended while the server drains.
    Freed,
}
