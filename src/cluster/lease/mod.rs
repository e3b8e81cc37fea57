//! A lease in Redis: at most one router should be doing a thing, and a number says in which order
//! they were.
//!
//! Owns the key `{prefix}:{name}:lease`, which holds its holder's id and expires, and the counter
//! `{prefix}:{name}:epoch`, which counts how often it was taken. Taken, renewed and
//! released by scripts that compare and act in one step; renewed when a third of its time is over, so
//! that two renewals may be lost.
//!
//! **It keeps order, not safety.** A holder may be paused after it looked; two Redis databases may
//! each know another holder; one that was emptied knows none. What keeps a holder whose lease has expired
//! from doing harm is the [`Leadership::epoch`]: whatever it does is refused where a higher one has
//! been seen. Who finds that out calls [`Handle::superseded`], and the next leadership begins above it,
//! even if Redis has lost its counter.
//!
//! Without Redis nobody gets the lease, and its holder loses it when it expires, by its own clock and
//! without a message. After a crash of the actor the next incarnation keeps the lease.

mod actor;
mod message;
mod scripts;
mod state;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::supervision::{Child, Mailbox};
use actor::Lease;
use message::Message;

/// The right to act, until it is renewed or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Higher than that of every leadership before it.
    pub epoch: u64,
    /// When it is over, unless it is renewed.
    pub until: Instant,
}

/// What an incarnation needs to begin.
#[derive(Clone)]
pub struct Setup<C> {
    /// Where the lease is kept.
    pub connection: C,
    /// Before the name, in every key.
    pub prefix: Arc<str>,
    /// What the lease is for.
    pub name: &'static str,
    /// Tells this router from all others.
    pub owner: Arc<str>,
    /// How long it lasts without renewal.
    pub ttl: Duration,
}

/// Reaches whichever incarnation runs.
#[derive(Clone, Debug)]
pub struct Handle {
    mailbox: Mailbox<Message>,
    leadership: Arc<watch::Sender<Option<Leadership>>>,
}

impl Default for Handle {
    fn default() -> Self {
        Self::new()
    }
}

impl Handle {
    /// One without an actor yet, and without a lease.
    #[must_use]
    pub fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
            leadership: Arc::new(watch::Sender::new(None)),
        }
    }

    /// For the supervisor.
    pub fn child<C>(&self, setup: Setup<C>) -> Child
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let leadership = Arc::clone(&self.leadership);
        Child::new::<Lease<C>>("cluster/lease", &self.mailbox, (setup, leadership))
    }

    /// Every change of it, renewals too.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Leadership>> {
        self.leadership.subscribe()
    }

    /// The right to act at this moment.
    #[must_use]
    pub fn leadership(&self) -> Option<Leadership> {
        let leadership = *self.leadership.borrow();
        leadership.filter(|leadership| Instant::now() < leadership.until)
    }

    /// Another router acted under this epoch: our leadership, if it is not above it, is over.
    pub fn superseded(&self, epoch: u64) {
        // After a restart the next incarnation finds out as this one did.
        self.mailbox.cast(Message::Superseded(epoch));
    }

    /// Releases it, and does not try to acquire it again.
    pub async fn resign(&self) {
        // An actor that has ended holds no lease, or one that expires.
        let _ = self.mailbox.call(Message::Resign).await;
        self.leadership.send_replace(None);
    }

    /// Ends it when it has handled the messages sent so far.
    pub async fn drain(&self) {
        self.mailbox.drain().await;
    }

    /// Fault injection: ends the actor as a panic would.
    pub fn kill(&self) {
        self.mailbox.kill();
    }
}
