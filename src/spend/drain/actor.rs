//! The shell around [`State`], and the task that runs a round.

use std::marker::PhantomData;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use redis::aio::ConnectionLike;

use super::Arguments;
use super::message::Message;
use super::round;
use super::state::{Effect, Ended, State};
use crate::supervision::Slot;

/// See the module.
pub(super) struct Drain<C>(PhantomData<C>);

/// The pure state, and what effects need.
pub(super) struct Draining<C> {
    arguments: Arguments<C>,
    state: State,
    resting: Vec<RpcReplyPort<()>>,
}

impl<C> Drain<C> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Drain<C> {
    type Msg = Message;
    type State = Draining<C>;
    type Arguments = (Arguments<C>, Slot<Message>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (arguments, slot): Self::Arguments,
    ) -> Result<Draining<C>, ActorProcessingErr> {
        slot.occupy(myself.clone());
        drop(myself.send_after(Duration::ZERO, || Message::Due));
        let state = State::new(arguments.interval);
        Ok(Draining {
            arguments,
            state,
            resting: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        draining: &mut Draining<C>,
    ) -> Result<(), ActorProcessingErr> {
        let state = &mut draining.state;
        let effects = match message {
            Message::Due => state.due(),
            Message::Ended(how) => state.ended(how, fastrand::f64()),
            Message::Rest(reply) => {
                draining.resting.push(reply);
                state.rest()
            }
        };
        for effect in effects {
            draining.act(&myself, effect);
        }
        Ok(())
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Draining<C> {
    fn act(&mut self, myself: &ActorRef<Message>, effect: Effect) {
        match effect {
            Effect::Arm(pause) => drop(myself.send_after(pause, || Message::Due)),
            Effect::Round(portion) => {
                let round = round::Round::new(self.arguments.clone(), portion);
                let myself = myself.clone();
                self.arguments.tracker.spawn(async move {
                    let mut over = Over {
                        myself,
                        how: Ended::Failed,
                    };
                    over.how = round.run().await;
                });
            }
            Effect::Prune => self.arguments.prune.begin(),
            Effect::Answer => {
                for reply in self.resting.drain(..) {
                    // Whoever asked may have given up.
                    let _ = reply.send(());
                }
            }
        }
    }
}

/// Tells the actor how it went, even if the task panics: it waits for nothing else.
struct Over {
    myself: ActorRef<Message>,
    how: Ended,
}

impl Drop for Over {
    fn drop(&mut self) {
        // Should it be dead, its successor begins a round.
        drop(self.myself.cast(Message::Ended(self.how)));
    }
}
