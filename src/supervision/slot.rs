//! Where the living incarnation of an actor is found.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, Message};

/// An address that survives restarts: whoever holds it reaches the incarnation that lives now.
///
/// An actor puts itself here first of all, in `pre_start`, before it tells anyone that it is there;
/// so whatever is sent because of that already reaches it.
#[derive(Debug)]
pub struct Slot<M>(Arc<ArcSwapOption<ActorRef<M>>>);

impl<M: Message> Slot<M> {
    /// A slot nobody lives in yet.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::new(ArcSwapOption::empty()))
    }

    /// From now on messages go to `actor`.
    pub fn occupy(&self, actor: ActorRef<M>) {
        self.0.store(Some(Arc::new(actor)));
    }

    /// Sends, if anyone is there. `false` when nobody was: then nothing was sent, and an actor that
    /// owes an answer to messages of this kind asks for them when it starts.
    pub fn cast(&self, message: M) -> bool {
        match &*self.0.load() {
            Some(actor) => actor.cast(message).is_ok(),
            None => false,
        }
    }

    /// Ends the occupant when it has done all it was told so far: not `stop`, which would overtake
    /// that. Whoever guards it has to be told before, or there is a successor.
    pub async fn drain(&self) {
        if let Some(actor) = self.occupant() {
            // An error means that it has ended already.
            let _ = actor.drain_and_wait(None).await;
        }
    }

    /// Ends the occupant at once, as a panic would.
    pub fn kill(&self) {
        if let Some(actor) = self.occupant() {
            actor.kill();
        }
    }

    /// Who lives here now.
    #[must_use]
    pub fn occupant(&self) -> Option<Arc<ActorRef<M>>> {
        self.0.load_full()
    }
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
