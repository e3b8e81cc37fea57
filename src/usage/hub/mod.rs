//! The subscribers of the counters, and the last snapshot they got.
//!
//! Owns the coalescing: however many changes there are, one snapshot is made per tenth of a
//! second, once for all subscribers, and none while nobody watches. It knows the counters only as
//! functions that render them. It fails by being restarted by its supervisor; a hub that starts makes
//! a snapshot, so that a change its predecessor was notified of is shown.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Source, Tokens};
use crate::supervision::{Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{Hub, Setup};
use message::Message;

#[derive(Clone)]
pub(super) struct Handle {
    frames: watch::Sender<Bytes>,
    /// A `Touched` is on its way or being handled.
    notified: Arc<AtomicBool>,
    mailbox: Mailbox<Message>,
    _supervisor: Arc<Supervisor>,
}

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        tokens: Tokens,
        source: Source,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let frames = watch::Sender::new(Bytes::new());
        let notified = Arc::new(AtomicBool::new(false));
        let mailbox = Mailbox::new();
        let setup = Setup {
            frames: frames.clone(),
            notified: Arc::clone(&notified),
            tokens,
            source,
        };
        let children = vec![Child::new::<Hub>("usage/hub", &mailbox, setup)];
        let supervisor = Supervisor::start(restarts, tracker, children).await?;
        Ok(Self {
            frames,
            notified,
            mailbox,
            _supervisor: Arc::new(supervisor),
        })
    }

    /// Cheap when nobody watches, and when the hub has been notified already.
    pub(super) fn touched(&self) {
        if self.frames.receiver_count() > 0 && !self.notified.swap(true, Ordering::AcqRel) {
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
