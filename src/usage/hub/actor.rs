//! The hub's actor: the state decides when to make a snapshot, the actor makes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::watch;

use super::message::Message;
use super::state::State;
use crate::supervision::{Actor, Context};
use crate::usage::{Source, Tokens, snapshot};

#[derive(Clone)]
pub(super) struct Setup {
    pub(super) frames: watch::Sender<Bytes>,
    pub(super) notified: Arc<AtomicBool>,
    pub(super) tokens: Tokens,
    pub(super) source: Source,
}

pub(super) struct Hub {
    setup: Setup,
    state: State,
}

impl Actor for Hub {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        context.cast(Message::Touched);
        Self {
            setup,
            state: State::default(),
        }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Touched => {
                let wait = self.state.wait(context.now());
                if wait.is_zero() {
                    self.publish(context);
                } else {
                    context.arm((), wait);
                }
            }
        }
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        self.publish(context);
    }
}

impl Hub {
    fn publish(&mut self, context: &Context<Self>) {
        self.state.published(context.now());
        // Cleared first: a change during the rendering asks for another snapshot.
        self.setup.notified.store(false, Ordering::Release);
        let frame = snapshot::render(&self.setup.tokens, &(self.setup.source)());
        self.setup.frames.send_if_modified(|last| {
            let changed = *last != frame;
            *last = frame;
            changed
        });
    }
}
