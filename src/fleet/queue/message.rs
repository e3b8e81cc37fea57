//! The messages of a queue's actor.

use super::{Arrival, Permit};
use crate::supervision::Reply;

/// The mailbox of a queue.
#[derive(Debug)]
pub enum Message {
    /// From a request: put it into the queue.
    Join {
        /// Its number in the order of arrival.
        arrival: Arrival,
        /// It can use only some of the servers.
        constrained: bool,
        /// Where its permit is sent.
        reply: Reply<Permit>,
    },
    /// From the request that had the permit: it found no free slot and keeps its entry.
    Again {
        /// Its number.
        arrival: Arrival,
        /// It can use only some of the servers.
        constrained: bool,
        /// Where its next permit is sent.
        reply: Reply<Permit>,
    },
    /// From an entry or a permit that was dropped: served, gone, or timed out.
    Left {
        /// Its number.
        arrival: Arrival,
    },
    /// From a lease that ended, or a server that changed: there may be a free slot.
    Freed,
}
