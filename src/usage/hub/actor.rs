//! The shell around the hub's state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::message::Message;
use super::state::State;
use crate::supervision::{Slot, guardian};
use crate::usage::{Source, Tokens, snapshot};

#[derive(Clone)]
pub(in crate::usage) struct Setup {
    pub(super) frames: watch::Sender<Bytes>,
    pub(super) told: Arc<AtomicBool>,
    pub(super) mailbox: Slot<Message>,
    pub(super) tokens: Tokens,
    pub(super) source: Source,
    pub(super) tracker: TaskTracker,
}

impl Setup {
    /// How the hub is started, every time.
    pub(super) fn into_child(self) -> guardian::Child {
        guardian::Child::of("usage hub", || HubActor, self)
    }
}

pub(super) struct HubActor;

pub(super) struct Shell {
    setup: Setup,
    state: State,
}

impl Actor for HubActor {
    type Msg = Message;
    type State = Shell;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        setup: Setup,
    ) -> Result<Shell, ActorProcessingErr> {
        setup.mailbox.occupy(myself.clone());
        let _ = myself.cast(Message::Touched);
        Ok(Shell {
            setup,
            state: State::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        let wait = match message {
            Message::Touched => shell.state.wait(now),
            Message::Due => std::time::Duration::ZERO,
        };
        if wait.is_zero() {
            shell.publish(now);
        } else {
            shell.setup.tracker.spawn(async move {
                sleep(wait).await;
                let _ = myself.cast(Message::Due);
            });
        }
        Ok(())
    }
}

impl Shell {
    fn publish(&mut self, now: Instant) {
        self.state.published(now);
        // Lowered first: a change during the rendering asks for another snapshot.
        self.setup.told.store(false, Ordering::Release);
        let frame = snapshot::render(&self.setup.tokens, &(self.setup.source)());
        self.setup.frames.send_if_modified(|last| {
            let changed = *last != frame;
            *last = frame;
            changed
        });
    }
}
