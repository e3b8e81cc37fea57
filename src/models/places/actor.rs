//! The actor: answers what the state says.

use std::convert::Infallible;

use super::message::Message;
use super::state::State;
use crate::supervision::{Actor, Context};

pub(super) struct Places {
    state: State,
}

impl Actor for Places {
    type Message = Message;
    type Timer = Infallible;
    type Setup = ();

    fn start((): (), _: &mut Context<Self>) -> Self {
        Self {
            state: State::default(),
        }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Choose { question, reply } => {
                let chosen = self.state.choose(question, context.now());
                let _ = reply.send(chosen);
            }
        }
    }

    fn due(&mut self, timer: Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}
