//! What a line's actor is told.

use super::{Ticket, Turn};
use crate::supervision::Reply;

/// The mailbox of a line.
#[derive(Debug)]
pub enum Message {
    /// From a request: put it in line.
    Join {
        /// Its place in the order of arrival.
        ticket: Ticket,
        /// It can use only some of the servers.
        constrained: bool,
        /// Where its turn goes.
        reply: Reply<Turn>,
    },
    /// From the request whose turn it was: it found no room and keeps its place.
    Again {
        /// Its place.
        ticket: Ticket,
        /// It can use only some of the servers.
        constrained: bool,
        /// Where its next turn goes.
        reply: Reply<Turn>,
    },
    /// From a place or a turn that was dropped: served, gone, or out of time.
    Left {
        /// Its place.
        ticket: Ticket,
    },
    /// From a lease that ended, or a server that changed: there may be room.
    Freed,
}
