//! The messages of an endpoint's actor.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Refusal;
use super::probe::Heard;
use crate::backend::Probe;
use crate::cluster::bus::Event;
use crate::faults::Fault;
use crate::fleet::lease::{Lease, Outcome};
use crate::fleet::slot_pool::SlotPool;
use crate::supervision::Reply;
use crate::upstream::Failure;

/// The mailbox of an endpoint.
#[derive(Debug)]
pub enum Message {
    /// From a request: give it a slot, or say why not.
    Acquire {
        /// The model's slots.
        pool: Arc<SlotPool>,
        /// Where the lease is sent; if the client has left meanwhile, the lease drops on the way.
        reply: Reply<Result<Lease, Refusal>>,
    },
    /// From a watched lease: its answer has begun.
    Answered {
        /// The pool of its slot.
        pool: Arc<SlotPool>,
        /// How long that took with a load before it, if it made the server load the model.
        loaded: Option<Duration>,
    },
    /// From a lease that makes the server load the model, or has found it loading: it is loaded. Nothing has
    /// been answered yet.
    Loaded {
        /// The pool of its slot.
        pool: Arc<SlotPool>,
    },
    /// From the lease of a running stream: it delivers, while the model is half-open.
    Delivered {
        /// The pool of its slot.
        pool: Arc<SlotPool>,
    },
    /// From a watched or failed lease: its slot is free again.
    Released {
        /// The pool of its slot.
        pool: Arc<SlotPool>,
        /// How it ended.
        outcome: Outcome,
        /// It was a trial, and had no answer.
        trial: bool,
    },
    /// From a request: the server failed it, as another server's answer has shown.
    Failed {
        /// The pool that its slot was of.
        pool: Arc<SlotPool>,
        /// How.
        fault: Fault,
    },
    /// From a request: it has unloaded this model.
    Unloaded {
        /// The model's slots.
        pool: Arc<SlotPool>,
        /// Not only if nothing else uses it.
        for_sure: bool,
    },
    /// From a request for a model that no server lists: ask for the models as soon as that may be done again,
    /// and answer when they are known.
    Relist(Reply<()>),
    /// From a call that has changed what the server has: ask for the models, and answer when a list has come that
    /// was asked for after now.
    ModelsChanged(Reply<()>),
    /// What is known may be out of date: ask this, unless it was asked just now.
    Recheck(Probe),
    /// From the probe's task: the answer.
    Probed {
        /// What was asked.
        probe: Probe,
        /// Which request of that probe.
        number: u64,
        /// When it was asked: what happened since is newer than the answer.
        asked: Instant,
        /// What came back.
        answer: Result<Heard, Failure>,
    },
    /// From another router.
    Heard(Event),
    /// From the task that took the server's lock for a load.
    Locked {
        /// The slots of the model that is to be loaded.
        pool: Arc<SlotPool>,
        /// Where the lease is sent.
        reply: Reply<Result<Lease, Refusal>>,
        /// No other router has it.
        taken: bool,
    },
    /// From the registry: the server, or a model there, begins or ceases to drain.
    Drain,
    /// From the registry: what was asked with the former key, or of the former list, no longer counts.
    Outdated,
    /// From a lease that ended while the server, or its model there, drains.
    Freed,
    /// From an operator: what waits there for a first byte is not to wait any longer.
    Abandoned,
}
