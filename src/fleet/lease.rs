//! One request's right to one slot of one server.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::endpoint::Endpoint;
use super::queue::Queues;
use super::slot_pool::{SlotPool, Taken};
use crate::backend::Fault;

/// What became of the request that held a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not sent, or the client left: says nothing about the server.
    Left,
    /// Answered to its end, or refused for a reason of the client's.
    Done,
    /// The server failed it.
    Failed(Fault),
}

/// The right to run one request; dropping it gives the slot back.
///
/// The slot is counted by what the lease holds, so it cannot leak: whatever way a request ends, its
/// lease drops. The endpoint's actor is told after the count has gone down, because whoever is told
/// of a free slot must find it free.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    pool: Arc<SlotPool>,
    slot: Option<(Taken, Arc<()>)>,
    queues: Arc<Queues>,
    /// The actor is told how this one ends: it loads the model, or is a trial after failures.
    watched: bool,
    cold: bool,
    outcome: Outcome,
}

impl Lease {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        slot: Taken,
        queues: Arc<Queues>,
        cold: bool,
        watched: bool,
    ) -> Self {
        let pool = Arc::clone(slot.pool());
        let slot = Some((slot, endpoint.take()));
        Self {
            endpoint,
            pool,
            slot,
            queues,
            watched,
            cold,
            outcome: Outcome::Left,
        }
    }

    /// The server.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The pool that the slot belongs to.
    #[must_use]
    pub fn pool(&self) -> &Arc<SlotPool> {
        &self.pool
    }

    /// True when the server has to load the model for this request.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.cold
    }

    /// The answer has begun: the model is loaded and works.
    pub fn first_byte(&mut self) {
        if let Some((slot, _)) = &mut self.slot {
            slot.first_byte();
        }
        if std::mem::take(&mut self.watched) {
            self.endpoint.answered(&self.pool);
        }
    }

    /// Says how it ended; without this the lease ends as [`Outcome::Left`].
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.slot.take());
        if self.watched || matches!(self.outcome, Outcome::Failed(_)) {
            self.endpoint.released(&self.pool, self.outcome);
        }
        // Pairs with the fence of a request that joins a queue: either it sees the free slot, or
        // this sees the queue. Likewise with that of a server that begins to drain.
        fence(Ordering::SeqCst);
        if self.endpoint.is_draining() {
            self.endpoint.freed();
        }
        if self.queues.anyone_waits() {
            self.queues.freed();
        }
    }
}
