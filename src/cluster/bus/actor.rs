//! The bus's actor: publishes what is told here, and passes on what comes.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::value::RawValue;
use tokio::sync::broadcast;

use super::event::Envelope;
use super::message::Message;
use super::state::State;
use super::{Heard, Incoming, Messages, Wire};
use crate::supervision::{Actor, Context};

/// What every incarnation begins with.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) me: Arc<str>,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) heard: broadcast::Sender<Heard>,
}

pub(super) struct BusActor {
    setup: Setup,
    state: State,
    /// The last message could not be published.
    is_away: bool,
}

impl Actor for BusActor {
    type Message = Message;
    type Timer = std::convert::Infallible;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let actor = Self {
            setup,
            state: State::default(),
            is_away: false,
        };
        let messages = actor.setup.wire.listen();
        actor.listen(messages, context);
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Tell(event) => self.state.tell(event),
            Message::Published(published) => {
                self.state.published();
                let was_away = std::mem::replace(&mut self.is_away, published.is_err());
                match published {
                    Err(error) if !was_away => {
                        tracing::warn!(%error, "other routers are not told what this one sees");
                    }
                    Ok(()) if was_away => tracing::info!("other routers are told again"),
                    _ => {}
                }
            }
            Message::Came(Some(Incoming { message, more })) => {
                self.came(message.as_deref());
                self.listen(more, context);
            }
            // The client of Redis is closed: the program ends.
            Message::Came(None) => {}
        }
        self.publish(context);
    }

    fn due(&mut self, timer: std::convert::Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}

impl BusActor {
    fn listen(&self, mut more: Messages, context: &Context<Self>) {
        context.spawn(async move {
            let message = more.next().await;
            Message::Came(message.map(|message| Incoming { message, more }))
        });
    }

    /// Nobody listens to what nobody needs.
    fn came(&self, message: Option<&[u8]>) {
        let Some(message) = message else {
            let _ = self.setup.heard.send(Heard::Gap);
            return;
        };
        // What is none is of a later version.
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_, &RawValue>>(message) else {
            return;
        };
        if *envelope.from == *self.setup.me {
            return;
        }
        let from: Arc<str> = envelope.from.into();
        let known = |event: &RawValue| serde_json::from_str(event.get()).ok();
        for event in envelope.events.into_iter().filter_map(known) {
            let from = Arc::clone(&from);
            let _ = self.setup.heard.send(Heard::Event { from, event });
        }
    }

    fn publish(&mut self, context: &Context<Self>) {
        let events = self.state.next();
        if events.is_empty() {
            return;
        }
        let from = Cow::Borrowed(&*self.setup.me);
        let message = serde_json::to_vec(&Envelope { from, events }).unwrap_or_default();
        let publishing = self.setup.wire.publish(message);
        context.spawn(async move { Message::Published(publishing.await) });
    }
}
