//! A lease in Redis: at most one router should be doing a thing, and a number says in which order
//! they were.
//!
//! Owns the key `{prefix}:{name}:lease`, which holds its holder's id and expires, and the counter
//! `{prefix}:{name}:epoch`, which counts tenures. Taken, renewed and released by scripts that compare
//! and act in one step; renewed when a third of its time is over, so that two renewals may be lost.
//!
//! **It keeps order, not safety.** A holder may be paused after it looked; two Redis databases may
//! each know another holder; one that was emptied knows none. What keeps a holder whose time is over
//! from doing harm is the [`Tenure::epoch`]: whatever it does is refused where a higher one has
//! been seen. Who finds that out says [`Handle::surpassed`], and the next tenure begins above it,
//! even if Redis has forgotten how far it had counted.
//!
//! Without Redis nobody gets the lease, and who has it loses it when its time is over, by its own
//! clock and without being told. An actor that dies leaves its lease to its successor.

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
pub struct Tenure {
    /// Higher than that of every tenure before it.
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

/// Reaches whichever incarnation lives.
#[derive(Clone, Debug)]
pub struct Handle {
    mailbox: Mailbox<Message>,
    tenure: Arc<watch::Sender<Option<Tenure>>>,
}

impl Default for Handle {
    fn default() -> Self {
        Self::new()
    }
}

impl Handle {
    /// One that nobody answers yet, and that has no lease.
    #[must_use]
    pub fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
            tenure: Arc::new(watch::Sender::new(None)),
        }
    }

    /// For the supervisor.
    pub fn child<C>(&self, setup: Setup<C>) -> Child
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let tenure = Arc::clone(&self.tenure);
        Child::new::<Lease<C>>("cluster/lease", &self.mailbox, (setup, tenure))
    }

    /// Every change of it, renewals too.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Tenure>> {
        self.tenure.subscribe()
    }

    /// The right to act at this moment.
    #[must_use]
    pub fn tenure(&self) -> Option<Tenure> {
        let tenure = *self.tenure.borrow();
        tenure.filter(|tenure| Instant::now() < tenure.until)
    }

    /// Somebody acted under this epoch: a tenure of ours that is not above it is over.
    pub fn surpassed(&self, epoch: u64) {
        // Whoever comes next will find out as the last one did.
        self.mailbox.cast(Message::Surpassed(epoch));
    }

    /// Gives it back, and asks for it no more.
    pub async fn resign(&self) {
        // An actor that has ended holds nothing, or what runs out by itself.
        let _ = self.mailbox.call(Message::Resign).await;
        self.tenure.send_replace(None);
    }

    /// Ends it when it has done what it was told so far.
    pub async fn drain(&self) {
        self.mailbox.drain().await;
    }

    /// Fault drill: the actor dies, as if it had panicked.
    pub fn kill(&self) {
        self.mailbox.kill();
    }
}
