//! Who watches the counters, and what they last saw.
//!
//! Owns the coalescing: however many changes there are, one snapshot is made per tenth of a
//! second, once for all subscribers, and none while nobody watches. It knows the counters only as
//! functions that render them. It fails by being restarted by whoever next touches it.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use ractor::{ActorRef, ActorStatus};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Source, Tokens};
use actor::{HubActor, Setup};
use message::Message;

#[derive(Clone)]
pub(super) struct Handle {
    frames: watch::Sender<Bytes>,
    /// A `Touched` is on its way or being acted on.
    told: Arc<AtomicBool>,
    mailbox: Arc<ArcSwapOption<ActorRef<Message>>>,
    setup: Setup,
}

impl Handle {
    pub(super) fn start(tokens: Tokens, source: Source, tracker: TaskTracker) -> Self {
        let frames = watch::Sender::new(Bytes::new());
        let told = Arc::new(AtomicBool::new(false));
        let setup = Setup {
            frames: frames.clone(),
            told: Arc::clone(&told),
            tokens,
            source,
            tracker,
        };
        let handle = Self {
            frames,
            told,
            mailbox: Arc::default(),
            setup,
        };
        handle.spawn();
        handle
    }

    /// Cheap when nobody watches, and when the news is on its way already.
    pub(super) fn touched(&self) {
        if self.frames.receiver_count() == 0 || self.told.swap(true, Ordering::AcqRel) {
            return;
        }
        self.tell();
    }

    /// `now` is the first thing the subscriber sees.
    pub(super) fn subscribe(&self, now: Bytes) -> watch::Receiver<Bytes> {
        let subscriber = self.frames.subscribe();
        self.frames.send_replace(now);
        // The hub may have died with the flag up while nobody watched.
        let alive = self
            .mailbox
            .load()
            .as_ref()
            .is_some_and(|hub| hub.get_status() == ActorStatus::Running);
        if !alive {
            self.told.store(false, Ordering::Release);
        }
        subscriber
    }

    fn tell(&self) {
        let sent = self
            .mailbox
            .load()
            .as_ref()
            .is_some_and(|hub| hub.cast(Message::Touched).is_ok());
        if !sent {
            self.spawn();
            self.told.store(false, Ordering::Release);
        }
    }

    fn spawn(&self) {
        match ractor::ActorRuntime::spawn_instant(None, HubActor, self.setup.clone()) {
            Ok((actor, _)) => self.mailbox.store(Some(Arc::new(actor))),
            Err(error) => tracing::error!(%error, "usage hub did not start"),
        }
    }
}
