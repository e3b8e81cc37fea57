//! One request's right to one slot of one server.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::endpoint::Endpoint;
use super::seat::{Seat, Taken};
use super::waiting::Lines;
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
/// lease drops. The news for the endpoint's actor goes out after the count has gone down, because
/// whoever hears of a free slot must find it free.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    seat: Arc<Seat>,
    slot: Option<(Taken, Arc<()>)>,
    lines: Arc<Lines>,
    /// The actor wants to hear how this one goes: it loads the model, or is a trial after failures.
    watched: bool,
    cold: bool,
    outcome: Outcome,
}

impl Lease {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        slot: Taken,
        lines: Arc<Lines>,
        cold: bool,
        watched: bool,
    ) -> Self {
        let seat = Arc::clone(slot.seat());
        let slot = Some((slot, endpoint.take()));
        Self {
            endpoint,
            seat,
            slot,
            lines,
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

    /// The seat held.
    #[must_use]
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
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
            self.endpoint.answered(&self.seat);
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
            self.endpoint.released(&self.seat, self.outcome);
        }
        // Pairs with the fence of a request that joins a line: either it sees the free slot, or
        // this sees the line. Likewise with that of a server that begins to drain.
        fence(Ordering::SeqCst);
        if self.endpoint.is_draining() {
            self.endpoint.freed();
        }
        if self.lines.anyone_waits() {
            self.lines.freed();
        }
    }
}
