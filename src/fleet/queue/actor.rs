//! A queue's actor: it passes its messages to the state, and sends the permits that the state offers.

use std::convert::Infallible;
use std::sync::Arc;

use super::message::Message;
use super::state::{Offer, State};
use super::{Permit, Queue};
use crate::supervision::{Actor, Context, Reply};

pub(in crate::fleet) struct QueueActor {
    queue: Arc<Queue>,
    state: State<Reply<Permit>>,
}

impl Actor for QueueActor {
    type Message = Message;
    type Timer = Infallible;
    type Setup = Arc<Queue>;

    fn start(queue: Arc<Queue>, _: &mut Context<Self>) -> Self {
        queue.restarted();
        Self {
            queue,
            state: State::new(),
        }
    }

    fn handle(&mut self, message: Message, _: &mut Context<Self>) {
        let offer = match message {
            Message::Join {
                arrival,
                constrained,
                reply,
            } => self.state.join(arrival, constrained, reply),
            Message::Again {
                arrival,
                constrained,
                reply,
            } => self.state.again(arrival, constrained, reply),
            Message::Left { arrival } => self.state.left(arrival),
            Message::Freed => {
                self.queue.clear_freed();
                self.state.freed()
            }
        };
        if let Some(Offer { arrival, reply }) = offer {
            // A permit that is not received drops here, which sends `Left`, which goes on to the next.
            drop(reply.send(Permit {
                queue: Some(Arc::clone(&self.queue)),
                arrival,
            }));
        }
    }

    fn due(&mut self, timer: Infallible, _: &mut Context<Self>) {
        match timer {}
    }
}
