//! What an endpoint's actor is told.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Refusal;
use super::probe::Answer;
use crate::fleet::lease::{Lease, Outcome};
use crate::fleet::seat::Seat;

/// A question a server is asked regularly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `HEAD /`: is it there? It takes no lock on the server, so it is quick even on a busy one.
    Alive,
    /// `GET /api/ps`: what is loaded? May be slow on a healthy server.
    Loaded,
    /// `GET /api/tags`: what does it have? May be slow too.
    Models,
    /// `GET /api/version`.
    Version,
}

/// The mailbox of an endpoint.
#[derive(Debug)]
pub enum Message {
    /// From a request: give it a slot, or say why not.
    Acquire {
        /// The model's seat.
        seat: Arc<Seat>,
        /// Where the lease goes; if the client has left meanwhile, the lease drops on the way.
        reply: oneshot::Sender<Result<Lease, Refusal>>,
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
    /// From a timer: ask this now.
    Due(Probe),
    /// From whoever has reason to doubt what is known: ask this, unless it was asked just now.
    Doubted(Probe),
    /// From the probe's task: the answer.
    Probed {
        /// What was asked.
        probe: Probe,
        /// When it was asked: what happened since is newer than the answer.
        asked: Instant,
        /// What came back.
        answer: Answer,
    },
    /// From a timer: some model may have been failing for long enough to be tried again.
    Reconsider,
}
