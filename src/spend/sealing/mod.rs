//! The spend actor: decides when a batch is closed, and knows which ones are in transit.
//!
//! Owns the seal timer, armed only while something is open, and the list of batches handed to the
//! transport and not settled. When that list is long the database is slow or away: batches are closed
//! ever more rarely then, and grow, by accounts and minutes and not by requests, so that an outage of
//! any length makes a number of batches that fits into memory.
//!
//! It must not know what is in a batch, how it is sent, or which files there are. It holds nothing
//! that the journal cannot repeat: a new incarnation attaches, and is told of everything that is
//! pending. When it crashes those who wait for [`Handle::flush`] are told, and ask the next one.

mod actor;
mod message;
mod state;

use std::time::Duration;

use super::journal::Journal;
use super::settlement::Settlement;
use super::transport::Transport;
use crate::supervision::{Child, Mailbox};
use actor::Sealing;
use message::Message;

/// What an incarnation needs to begin.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) journal: Journal,
    pub(super) transport: Transport,
    /// How long a batch stays open while the database keeps up.
    pub(super) interval: Duration,
    /// How long at most, while batches pile up.
    pub(super) longest: Duration,
}

/// Reaches whichever incarnation runs.
#[derive(Clone)]
pub(super) struct Handle(Mailbox<Message>);

impl Handle {
    pub(super) fn new() -> Self {
        Self(Mailbox::new())
    }

    /// For the supervisor.
    pub(super) fn child(&self, setup: Setup) -> Child {
        Child::new::<Sealing>("spend/sealing", &self.0, setup)
    }

    /// These are in the database.
    pub(super) fn applied(&self, settlements: Vec<Settlement>) {
        // Without a running incarnation they are sent again, found applied, and reported again.
        self.0.cast(Message::Applied(settlements));
    }

    /// Send everything again: the receiver has restarted.
    pub(super) fn resend(&self) {
        // Without a running incarnation: the next one sends everything in any case.
        self.0.cast(Message::Resend);
    }

    /// Seals, and returns `true` when all that was recorded before is in the database; `false`
    /// when the actor crashed before that.
    pub(super) async fn flush(&self) -> bool {
        self.0.call(Message::Flush).await.is_some()
    }

    /// Ends it when it has handled the messages sent so far.
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }

    pub(super) fn kill(&self) {
        self.0.kill();
    }
}
