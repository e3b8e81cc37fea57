//! The actor around [`State`], and the task that runs a round.

use redis::aio::ConnectionLike;

use super::Setup;
use super::message::Message;
use super::round::Round;
use super::state::{Effect, State};
use crate::supervision::{Actor, Context, Reply};

/// See the module.
pub(super) struct Drain<C> {
    setup: Setup<C>,
    state: State,
    finishing: Vec<Reply<()>>,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Drain<C> {
    type Message = Message;
    type Timer = ();
    type Setup = Setup<C>;

    fn start(setup: Setup<C>, context: &mut Context<Self>) -> Self {
        let mut drain = Self {
            state: State::new(setup.interval),
            setup,
            finishing: Vec::new(),
        };
        drain.due((), context);
        drain
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let effects = match message {
            Message::Ended(how) => self.state.ended(how, context.random()),
            Message::Finish(reply) => {
                self.finishing.push(reply);
                self.state.finish()
            }
        };
        self.act(effects, context);
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let effects = self.state.due();
        self.act(effects, context);
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Drain<C> {
    fn act(&mut self, effects: Vec<Effect>, context: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Arm(pause) => context.arm((), pause),
                Effect::Round(portion) => {
                    let round = Round::new(self.setup.clone(), portion);
                    context.spawn_detached(async move { Message::Ended(round.run().await) });
                }
                Effect::Prune => self.setup.prune.begin(),
                Effect::Answer => {
                    for reply in self.finishing.drain(..) {
                        // Whoever asked may have given up.
                        let _ = reply.send(());
                    }
                }
            }
        }
    }
}
