//! The spend actor: decides when a batch is closed, and knows which ones are on their way.
//!
//! Owns the seal timer, armed only while something is open, and the list of batches handed to the
//! carrier and not settled. When that list is long the database is in trouble: batches are closed
//! ever more rarely then, and grow, by accounts and minutes and not by requests, so that an outage of
//! any length makes a number of batches that fits into memory.
//!
//! It must not know what is in a batch, how it travels, or which files there are. It holds nothing
//! that the journal could not tell it again: a new incarnation attaches, and hears of everything
//! that is owed. When it dies those who wait for [`Handle::flush`] are told, and ask its successor.

mod actor;
mod message;
mod state;

use std::time::Duration;

use super::carrier::Carrier;
use super::journal::Journal;
use super::settlement::Settlement;
use crate::supervision::{Child, Mailbox};
use actor::Forward;
use message::Message;

/// What an incarnation needs to begin.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) journal: Journal,
    pub(super) carrier: Carrier,
    /// How long a batch stays open while all is well.
    pub(super) interval: Duration,
    /// How long at most, while batches pile up.
    pub(super) longest: Duration,
}

/// Reaches whichever incarnation lives.
#[derive(Clone)]
pub(super) struct Handle(Mailbox<Message>);

impl Handle {
    pub(super) fn new() -> Self {
        Self(Mailbox::new())
    }

    /// For the supervisor.
    pub(super) fn child(&self, setup: Setup) -> Child {
        Child::new::<Forward>("spend/forward", &self.0, setup)
    }

    /// These are in the database.
    pub(super) fn applied(&self, settlements: Vec<Settlement>) {
        // When nobody is there they will be carried, found applied, and told of again.
        self.0.cast(Message::Applied(settlements));
    }

    /// Carry everything again: whoever had it is gone.
    pub(super) fn resend(&self) {
        // When nobody is there, whoever comes carries everything in any case.
        self.0.cast(Message::Resend);
    }

    /// Seals, and returns `true` when all that was recorded before is in the database; `false`
    /// when the actor died before that.
    pub(super) async fn flush(&self) -> bool {
        self.0.call(Message::Flush).await.is_some()
    }

    /// Ends it when it has done what it was told so far.
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }

    pub(super) fn kill(&self) {
        self.0.kill();
    }
}
