//! A line's actor: it passes on what it is told, and gives the turns that the state offers.

use std::convert::Infallible;
use std::sync::Arc;

use super::message::Message;
use super::state::{Offer, State};
use super::{Line, Turn};
use crate::supervision::{Actor, Context, Reply};

pub(in crate::fleet) struct Waiting {
    line: Arc<Line>,
    state: State<Reply<Turn>>,
}

impl Actor for Waiting {
    type Message = Message;
    type Timer = Infallible;
    type Setup = Arc<Line>;

    fn start(line: Arc<Line>, _: &mut Context<Self>) -> Self {
        line.restarted();
        Self {
            line,
            state: State::new(),
        }
    }

    fn handle(&mut self, message: Message, _: &mut Context<Self>) {
        let offer = match message {
            Message::Join {
                ticket,
                constrained,
                reply,
            } => self.state.join(ticket, constrained, reply),
            Message::Again {
                ticket,
                constrained,
                reply,
            } => self.state.again(ticket, constrained, reply),
            Message::Left { ticket } => self.state.left(ticket),
            Message::Freed => {
                self.line.hear();
                self.state.freed()
            }
        };
        if let Some(Offer { ticket, reply }) = offer {
            // A turn nobody receives drops here, which says `Left`, which goes on to the next.
            drop(reply.send(Turn {
                line: Some(Arc::clone(&self.line)),
                ticket,
            }));
        }
    }

    fn due(&mut self, timer: Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}
