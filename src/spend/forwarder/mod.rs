//! The forwarder: sends this router's batches to Redis, and tracks what has become of them.
//!
//! Owns which batches wait for Redis, which are in it, and which go past it; the one call to append
//! and the one query under way. It must not know what is in a batch, who leads, or when a batch
//! is closed.
//!
//! **Redis may forget.** What was appended is not delivered: it was flushed, evicted, or is in a
//! database nobody uses any more. So the forwarder asks SQL what has been applied, checks whether the
//! rest is still in the stream, and sends again what is in neither, asking SQL once more after it
//! saw that, since a leader deletes what it has committed.
//!
//! **Redis may be away, or full.** What it has not taken within a bound goes straight to SQL, under
//! the same id; so does what it has kept for very long while SQL was there all the time: a leader
//! that does not understand it, or none. Whatever arrives twice is counted once.
//!
//! After a crash the next incarnation has everything sent again.

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
use super::queue::InTransit;
use super::settlement::Settlement;
use super::stream::Stream;
use super::{SpendStats, flush, sealing};
use crate::store::{SealedBatch, Store};
use crate::supervision::{Child, Mailbox};
use actor::Forwarder;
use message::Message;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// For Redis to accept a batch, before it goes straight to SQL.
    pub(super) accept_timeout: Duration,
    /// Between two queries to SQL.
    pub(super) query_interval: Duration,
    /// Before checking whether a batch is still in the stream, and between two checks.
    pub(super) check_interval: Duration,
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
    /// Is told what was applied.
    pub(super) sealing: sealing::Handle,
    /// Past Redis.
    pub(super) flush: flush::Handle,
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
        Child::new::<Forwarder<C>>("spend/forwarder", &self.0, setup)
    }

    /// A batch to bring to the database.
    pub(super) fn forward(&self, batch: Arc<SealedBatch>) {
        // Without a running incarnation: the next one asks for it.
        self.0.cast(Message::Forward(batch));
    }

    /// Someone waits: everything goes straight to SQL.
    pub(super) fn flush_now(&self) {
        self.0.cast(Message::FlushNow);
    }

    /// These are in the database, whoever wrote them.
    pub(super) fn settled(&self, settlements: Vec<Settlement>) {
        // An incarnation that was not told sends them once more, and finds out.
        self.0.cast(Message::Settled(settlements));
    }

    /// What waits in it and in Redis; `None` when it does not answer.
    pub(super) async fn in_transit(&self, limit: Duration) -> Option<InTransit> {
        timeout(limit, self.0.call(Message::InTransit)).await.ok()?
    }

    /// Ends it when it has handled the messages sent so far.
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }

    pub(super) fn kill(&self) {
        self.0.kill();
    }
}
