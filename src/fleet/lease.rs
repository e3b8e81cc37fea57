//! One request's right to one slot of one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::first_bytes::Before;
use super::queue::Queues;
use super::slot_pool::{SlotPool, Taken};
use crate::faults::Fault;

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
    grant: Grant,
    since: Instant,
    answered: bool,
    /// The answer is not streamed.
    whole: bool,
    /// Its client left late, which has been counted, and the exchange goes on.
    was_late: AtomicBool,
    outcome: Outcome,
}

/// How a slot was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// The server has to load the model for this request.
    pub(super) cold: bool,
    /// The server is loading the model already.
    pub(super) loading: bool,
    /// It is the one request that tests whether the model works again.
    pub(super) trial: bool,
    /// The actor is told when the answer begins and how it ends.
    pub(super) watched: bool,
}

impl Lease {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        slot: Taken,
        queues: Arc<Queues>,
        grant: Grant,
    ) -> Self {
        let pool = Arc::clone(slot.pool());
        let slot = Some((slot, endpoint.take()));
        Self {
            endpoint,
            pool,
            slot,
            queues,
            grant,
            since: Instant::now(),
            answered: false,
            whole: false,
            was_late: AtomicBool::new(false),
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
        self.grant.cold
    }

    /// The answer is not streamed: its first byte comes when all of it has been computed.
    pub fn awaits_whole(&mut self) {
        self.whole = true;
    }

    /// True when the server loads the model now, for this request or for one before it.
    #[must_use]
    pub fn awaits_load(&self) -> bool {
        self.grant.cold || self.grant.loading
    }

    /// The server has loaded the model: what is left is to be computed.
    pub fn loaded(&self) {
        self.endpoint.loaded(&self.pool);
    }

    /// The client has left while the server loads the model, which goes on: when that was late it counts as
    /// with any other.
    pub fn left_loading(&self) {
        if self.left_late() {
            self.endpoint.failed(&self.pool, Fault::Abandoned);
        }
    }

    /// When the slot was given.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The client has left, and its server goes on computing all the same: until when that is worth the slot,
    /// if it is. A trial is not: others wait for what it shows.
    #[must_use]
    pub fn without_client_until(&self) -> Option<Instant> {
        let worth = self.pool.first_bytes().worth_a_slot(self.before());
        if self.answered {
            return Some(Instant::now() + worth);
        }
        if self.left_late() {
            self.endpoint.failed(&self.pool, Fault::Abandoned);
            return None;
        }
        (!self.grant.trial).then(|| self.since + worth)
    }

    /// Returns when the model fails there: perhaps nothing is being computed.
    pub async fn blamed(&self) {
        self.pool.blamed().await;
    }

    /// The answer has begun: the model is loaded and works.
    pub fn first_byte(&mut self) {
        if let Some((slot, _)) = &mut self.slot {
            slot.first_byte();
        }
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let waited = self.since.elapsed();
        self.pool.first_bytes().came(waited, self.before());
        if !self.whole {
            self.endpoint.first_bytes().came(waited);
        }
        if self.grant.watched {
            let loaded = self.grant.cold.then_some(waited);
            self.endpoint.answered(&self.pool, loaded);
        }
    }

    /// The answer is over. The server `unloads` the model for it, when nothing else uses it any more.
    pub fn ending(&self, unloads: bool) {
        if unloads {
            self.pool.set_unloading();
        }
        if self.pool.is_unloading() {
            self.endpoint.changed();
        }
    }

    /// A piece of the answer has come.
    pub fn delivered(&self) {
        if self.pool.takes_delivery() {
            self.endpoint.delivered(&self.pool);
        }
    }

    fn before(&self) -> Before {
        Before {
            load: self.grant.cold || self.grant.loading,
            all: self.whole,
        }
    }

    /// Nobody waits for the first byte any more. A client that leaves much later than first bytes usually
    /// come is evidence, with others, or at once of a trial; says whether it is. It counts once.
    fn left_late(&self) -> bool {
        let first_bytes = self.pool.first_bytes();
        first_bytes.is_late(self.since.elapsed(), self.before())
            && !self.was_late.swap(true, Ordering::Relaxed)
            && (self.grant.trial || first_bytes.left_late())
    }

    /// What is to be learnt from its end.
    fn ended_as(&self) -> Outcome {
        let is_over = self.answered || self.outcome != Outcome::Left;
        match !is_over && self.left_late() {
            true => Outcome::Failed(Fault::Abandoned),
            false => self.outcome,
        }
    }

    /// Says how it ended; without this the lease ends as [`Outcome::Left`].
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let outcome = self.ended_as();
        drop(self.slot.take());
        if self.pool.takes_unload() {
            self.endpoint.unloads(&self.pool);
        }
        let untold = self.grant.watched && !self.answered;
        if untold || matches!(outcome, Outcome::Failed(_)) {
            let trial = self.grant.trial && !self.answered;
            self.endpoint.released(&self.pool, outcome, trial);
        }
        // Pairs with the fence of a request that joins a queue: either it sees the free slot, or
        // this sees the queue. Likewise with that of a server that begins to drain.
        fence(Ordering::SeqCst);
        self.endpoint.freed(&self.pool);
        if self.queues.anyone_waits() {
            self.queues.freed();
        }
    }
}
