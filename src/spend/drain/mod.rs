//! The drain: while this router leads, it empties the stream into the database.
//!
//! Owns when its rounds run, one at a time: read, write in one transaction under the lease's
//! epoch, and only then remove; again until nothing is left. It must not know who sealed what, or
//! wait for anybody. Every router has one, and asks its lease before each transaction; those that do
//! not lead only check how much waits.
//!
//! It may crash between any two steps, and so may the process: what was read and not removed is
//! claimed by whoever leads next, and the database knows what it has. A leader that was paused and
//! does not know that its lease has expired is refused by the database, and gives up the lead.

mod actor;
mod message;
mod read_size;
mod round;
mod state;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;

use super::SpendStats;
use super::prune::Prune;
use super::stream::Stream;
use crate::cluster::lease;
use crate::store::Store;
use crate::supervision::{Child, Mailbox};
use actor::Drain;
use message::Message;

/// What an incarnation needs to begin.
#[derive(Clone)]
pub(super) struct Setup<C> {
    pub(super) stream: Stream<C>,
    pub(super) store: Store,
    pub(super) lease: lease::Handle,
    /// This run of this router, as its lease knows it.
    pub(super) leader: Arc<str>,
    /// Between two rounds.
    pub(super) interval: Duration,
    /// The list of what was applied.
    pub(super) prune: Prune,
    pub(super) stats: Arc<SpendStats>,
}

/// Reaches whichever incarnation runs.
#[derive(Clone)]
pub(super) struct Handle(Mailbox<Message>);

impl Handle {
    pub(super) fn new() -> Self {
        Self(Mailbox::new())
    }

    /// For the supervisor.
    pub(super) fn child<C>(&self, setup: Setup<C>) -> Child
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Child::new::<Drain<C>>("spend/drain", &self.0, setup)
    }

    /// Ends the round under way, and begins no other.
    pub(super) async fn finish(&self) {
        // One that has ended runs no round.
        let _ = self.0.call(Message::Finish).await;
    }

    /// Ends it when it has handled the messages sent so far.
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }

    pub(super) fn kill(&self) {
        self.0.kill();
    }
}
