//! The flush actor: many batches, one transaction.
//!
//! Owns the queue of batches that arrive over the transport, the flush timer, armed only while there is
//! something in the queue, and the one transaction under way. A transaction that fails is tried
//! again for as long as it takes, ever more slowly.
//!
//! With Redis, only what Redis has not taken comes here, or what is to be flushed now; else
//! everything.
//!
//! It must not know where batches come from or what a journal is. It may crash at any moment, even
//! between a commit and the report of it: the next incarnation asks for everything to be sent again, and
//! the database knows what it has.
//!
//! The transaction runs in a tracked task, which is not cancelled when the actor crashes. Its result
//! is then lost, and a second transaction with the same batches may already wait behind it: that
//! one finds them applied.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::prune::Prune;
use super::queue::Amount;
use super::{SpendStats, sealing};
use crate::store::{SealedBatch, Store};
use crate::supervision::{Child, Mailbox};
use actor::Flush;
use message::Message;

/// What an incarnation needs to begin.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) store: Store,
    pub(super) interval: Duration,
    /// Is told what was applied.
    pub(super) sealing: sealing::Handle,
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
    pub(super) fn child(&self, setup: Setup) -> Child {
        Child::new::<Flush>("spend/flush", &self.0, setup)
    }

    /// A batch to write.
    pub(super) fn offer(&self, batch: Arc<SealedBatch>) {
        // Without a running incarnation: the next one asks for it.
        self.0.cast(Message::Offer(batch));
    }

    /// Someone waits: write what is there without waiting for the timer.
    pub(super) fn flush_now(&self) {
        self.0.cast(Message::FlushNow);
    }

    /// What is in its queue; `None` when it does not answer.
    pub(super) async fn queued(&self, limit: Duration) -> Option<Amount> {
        timeout(limit, self.0.call(Message::Queued)).await.ok()?
    }

    /// Ends it when it has handled the messages sent so far.
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }

    pub(super) fn kill(&self) {
        self.0.kill();
    }
}
