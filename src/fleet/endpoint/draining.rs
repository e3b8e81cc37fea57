//! A server that takes nothing new: for good, because it is not wanted any more, or until an operator lets
//! it go on; the whole of it, or one model on it.
//!
//! A request that takes a slot looks afterwards whether it was allowed to, and whoever keeps requests away
//! looks afterwards whether one runs: in this order, with a fence on both sides, so that one of them sees
//! the other.

use std::sync::atomic::{Ordering, fence};

use super::{Endpoint, Message};
use crate::domain::ModelName;
use crate::fleet::desired::Drain;
use crate::fleet::slot_pool::SlotPool;

impl Endpoint {
    /// True while an operator keeps new requests from it.
    #[must_use]
    pub fn is_on_hold(&self) -> bool {
        self.hold.is_on()
    }

    /// True while an operator keeps new requests for this model from it, whether or not it has the model.
    #[must_use]
    pub fn is_on_hold_for(&self, model: &ModelName) -> bool {
        self.settings.load().drain.is_of(model)
    }

    /// True when what ran at the beginning of that has ended.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.hold.is_drained()
    }

    /// Whether nothing new of this model may be sent there, whatever is free.
    pub(super) fn takes_nothing(&self, pool: &SlotPool) -> bool {
        self.is_draining() || self.hold.is_on() || pool.hold().is_on()
    }

    /// Whether it goes by this name, or has this label.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        *self.id.name == *name || self.settings.load().has_label(name)
    }

    /// A lease has ended, and its slot is free.
    pub(in crate::fleet) fn freed(&self, pool: &SlotPool) {
        if self.takes_nothing(pool) {
            self.tell(Message::Freed);
        }
    }

    /// Nobody waits for it any more: requests without a first byte move to other servers.
    pub fn abandon(&self) {
        self.tell(Message::Abandoned);
    }

    // Written by the registry alone.

    /// Lets the server, and each model on it, take new requests or not.
    pub(super) fn set_hold(&self, drain: &Drain) {
        let mut is_new = self.hold.set(drain.is_of_all());
        for pool in self.pools() {
            is_new |= pool.hold().set(drain.is_of(pool.model()));
        }
        if is_new {
            fence(Ordering::SeqCst);
            self.tell(Message::Drain);
        }
    }

    /// Begins or ceases to drain; says whether that is new.
    pub(in crate::fleet) fn set_draining(&self, draining: bool) -> bool {
        if self.draining.swap(draining, Ordering::Relaxed) == draining {
            return false;
        }
        // Pairs with the fence of a dropping lease: either the actor finds no lease, or the lease
        // finds the server draining and says so.
        fence(Ordering::SeqCst);
        self.tell(Message::Drain);
        true
    }

    // Written by the actor alone.

    /// Says of each hold, once, that what ran at its beginning has ended.
    pub(super) fn say_drained(&self) {
        if self.total_in_flight() == 0 && self.hold.ended() {
            tracing::info!(endpoint = %self.name(), "endpoint drained");
        }
        for pool in self.pools() {
            if pool.in_flight() == 0 && pool.hold().ended() {
                tracing::info!(endpoint = %self.name(), model = %pool.model(), "model drained");
            }
        }
        self.note_state();
    }
}
