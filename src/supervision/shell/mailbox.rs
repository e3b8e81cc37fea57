//! How an actor is reached.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use tokio::sync::oneshot;

use super::driver::Envelope;

/// Where the answer to a call goes. Dropped unanswered, the caller is told that there will be none.
pub type Reply<T> = oneshot::Sender<T>;

/// An address that survives restarts: messages reach the incarnation that runs now.
///
/// An incarnation takes its mailbox over before it does anything else; so an answer to what it sends
/// reaches it. Should the one before still run, it is killed: only one runs at a time.
pub struct Mailbox<M>(Arc<ArcSwapOption<ActorRef<Envelope<M>>>>);

impl<M: Send + 'static> Mailbox<M> {
    /// A mailbox that no actor reads yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(ArcSwapOption::empty()))
    }

    /// From now on messages go to `actor`.
    pub(super) fn attach(&self, actor: ActorRef<Envelope<M>>) {
        if let Some(before) = self.0.swap(Some(Arc::new(actor))) {
            before.kill();
        }
    }

    /// Sends, if an incarnation runs. `false` when none does: then nothing was sent, and an actor that
    /// depends on messages of this kind requests them when it starts.
    pub fn cast(&self, message: M) -> bool {
        match &*self.0.load() {
            Some(actor) => actor.cast(Envelope::Message(message)).is_ok(),
            None => false,
        }
    }

    /// Sends the message that `message` makes of a reply channel, and waits for the reply. `None` when no
    /// incarnation runs, or when it ended, or dropped the channel, without a reply. There is no time
    /// limit but the caller's.
    pub async fn call<T>(&self, message: impl FnOnce(Reply<T>) -> M) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.cast(message(reply));
        answer.await.ok()
    }

    /// Ends the incarnation at once, as a panic would. For fault injection.
    pub fn kill(&self) {
        if let Some(actor) = self.0.load_full() {
            actor.kill();
        }
    }

    /// Ends the incarnation when it has done all it was told so far, and waits for that. Unless its
    /// supervisor [no longer restarts](crate::supervision::Supervisor::stop_restarting) its children, there is
    /// a successor.
    pub async fn drain(&self) {
        if let Some(actor) = self.0.load_full() {
            // An error means that it has ended already.
            let _ = actor.drain_and_wait(None).await;
        }
    }
}

impl<M: Send + 'static> Default for Mailbox<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
