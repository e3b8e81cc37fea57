//! Who watches the counters, and what they last saw.
//!
//! Owns the coalescing: however many changes there are, one snapshot is made per tenth of a
//! second, once for all subscribers, and none while nobody watches. It knows the counters only as
//! functions that render them. It fails by being restarted by its guardian; a hub that starts makes
//! a snapshot, so that a change its predecessor heard of is shown.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ractor::SpawnErr;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Source, Tokens};
use crate::supervision::{RestartPolicy, Slot, guardian};
use actor::Setup;
use message::Message;

#[derive(Clone)]
pub(super) struct Handle {
    frames: watch::Sender<Bytes>,
    /// A `Touched` is on its way or being acted on.
    told: Arc<AtomicBool>,
    mailbox: Slot<Message>,
    _guardian: Arc<guardian::Handle>,
}

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        tokens: Tokens,
        source: Source,
        tracker: TaskTracker,
    ) -> Result<Self, SpawnErr> {
        let frames = watch::Sender::new(Bytes::new());
        let told = Arc::new(AtomicBool::new(false));
        let mailbox = Slot::empty();
        let setup = Setup {
            frames: frames.clone(),
            told: Arc::clone(&told),
            mailbox: mailbox.clone(),
            tokens,
            source,
            tracker,
        };
        let guardian = guardian::Handle::start(restarts, vec![setup.into_child()]).await?;
        Ok(Self {
            frames,
            told,
            mailbox,
            _guardian: Arc::new(guardian),
        })
    }

    /// Cheap when nobody watches, and when the news is on its way already.
    pub(super) fn touched(&self) {
        if self.frames.receiver_count() > 0 && !self.told.swap(true, Ordering::AcqRel) {
            self.mailbox.cast(Message::Touched);
        }
    }

    /// What `render` makes is the first thing the subscriber sees; changes from then on follow.
    pub(super) fn subscribe(&self, render: impl FnOnce() -> Bytes) -> watch::Receiver<Bytes> {
        let subscriber = self.frames.subscribe();
        self.frames.send_replace(render());
        subscriber
    }
}
