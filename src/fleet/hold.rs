//! Whether an operator lets a server, or one model on it, take new requests.
//!
//! Unlike a server that is not wanted any more, one that is on hold stays: it is probed, its models stay
//! listed, and it goes on when the hold ends. The registry writes whether there is a hold; the endpoint's
//! actor, once, that what ran at its beginning has ended. Both are one cell, since the second is about the
//! first.

use std::sync::atomic::{AtomicU8, Ordering};

const NONE: u8 = 0;
const DRAINING: u8 = 1;
const DRAINED: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Hold(AtomicU8);

impl Hold {
    /// Whether nothing new is taken.
    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NONE
    }

    /// Begins or ends it; says whether that is new.
    pub(super) fn set(&self, on: bool) -> bool {
        match on {
            true => self
                .0
                .compare_exchange(NONE, DRAINING, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok(),
            // Whatever the actor has written meanwhile.
            false => self.0.swap(NONE, Ordering::SeqCst) != NONE,
        }
    }

    /// Nothing runs any more: true the first time of each hold.
    pub(super) fn ended(&self) -> bool {
        self.0
            .compare_exchange(DRAINING, DRAINED, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether what ran at its beginning has ended.
    pub(super) fn is_drained(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DRAINED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_hold_is_said_once_and_again_of_the_next_one() {
        let hold = Hold::default();
        assert!(!hold.ended(), "there is none");
        assert!(hold.set(true) && !hold.set(true) && hold.is_on());
        assert!(!hold.is_drained());
        assert!(hold.ended() && !hold.ended() && hold.is_drained());
        assert!(!hold.set(true), "still the same one");
        assert!(hold.set(false) && !hold.set(false) && !hold.is_on());
        assert!(hold.set(true) && hold.ended());
        assert!(hold.set(false) && !hold.is_on(), "also after its end");
    }
}
