//! The courier: brings this router's batches to Redis, and knows what has become of them.
//!
//! Owns which batches wait for Redis, which are in it, and which go past it; the one call to append
//! and the one question under way. It must not know what is in a batch, who leads, or when a batch
//! is closed.
//!
//! **Redis may forget.** What was appended is not delivered: it was flushed, evicted, or is in a
//! database nobody uses any more. So the courier asks SQL what has been applied, looks whether the
//! rest is still in the stream, and sends again what is in neither, asking SQL once more after it
//! saw that, since a leader deletes what it has committed.
//!
//! **Redis may be away, or full.** What it has not taken within a bound goes straight to SQL, under
//! the same id; so does what it has kept for very long while SQL was there all the time: a leader
//! that does not understand it, or none. Whatever arrives twice is counted once.
//!
//! When it dies its successor has everything sent again.

mod actor;
mod message;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use tokio::time::timeout;

use super::journal::Journal;
use super::queue::Carried;
use super::settlement::Settlement;
use super::stream::Stream;
use super::{SpendStats, flush, forward};
use crate::store::{SealedBatch, Store};
use crate::supervision::{Child, Mailbox};
use actor::Courier;
use message::Message;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// For Redis to take a batch, before it goes straight to SQL.
    pub(super) patience: Duration,
    /// Between two questions to SQL.
    pub(super) ask: Duration,
    /// Before looking whether a batch is still in the stream, and between two looks.
    pub(super) look: Duration,
    /// For the leader to write a batch that is in the stream, while SQL answers, before it goes
    /// straight to SQL.
    pub(super) give_up: Duration,
}

/// What an incarnation needs to begin.
#[derive(Clone)]
pub(super) struct Setup<C> {
    pub(super) rules: Rules,
    pub(super) stream: Stream<C>,
    pub(super) store: Store,
    pub(super) journal: Journal,
    /// Who is told what was applied.
    pub(super) forward: forward::Handle,
    /// Past Redis.
    pub(super) flush: flush::Handle,
    pub(super) stats: Arc<SpendStats>,
}

/// Reaches whichever incarnation lives.
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
        Child::new::<Courier<C>>("spend/courier", &self.0, setup)
    }

    /// A batch to bring to the database.
    pub(super) fn carry(&self, batch: Arc<SealedBatch>) {
        // When nobody is there, whoever comes asks for it.
        self.0.cast(Message::Carry(batch));
    }

    /// Someone waits: everything goes straight to SQL.
    pub(super) fn hurry(&self) {
        self.0.cast(Message::Hurry);
    }

    /// These have arrived, whoever brought them.
    pub(super) fn settled(&self, settlements: Vec<Settlement>) {
        // A successor that was not told sends them once more, and finds out.
        self.0.cast(Message::Settled(settlements));
    }

    /// What is with it and in Redis; `None` when it does not say.
    pub(super) async fn carried(&self, limit: Duration) -> Option<Carried> {
        timeout(limit, self.0.call(Message::Carried)).await.ok()?
    }

    /// Ends it when it has done what it was told so far.
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }

    pub(super) fn kill(&self) {
        self.0.kill();
    }
}
