//! The actor around [`State`].

use std::collections::BTreeMap;

use super::Setup;
use super::message::Message;
use super::state::{Ask, Effect, State};
use crate::supervision::{Actor, Context, Reply};

/// See the module.
pub(super) struct Sealing {
    setup: Setup,
    state: State,
    replies: BTreeMap<Ask, Reply<()>>,
}

impl Actor for Sealing {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let sealing = Self {
            state: State::new(setup.interval, setup.longest),
            setup,
            replies: BTreeMap::new(),
        };
        sealing.attach(context);
        sealing
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let effects = match message {
            Message::Unsealed(pending) => self.state.unsealed(pending),
            Message::Sealed(batch) => self.state.sealed(batch),
            Message::Applied(settlements) => self.state.applied(settlements),
            Message::Settled(ask) => self.state.settled(ask),
            Message::Resend => {
                self.attach(context);
                Vec::new()
            }
            Message::Flush(reply) => {
                let (ask, effects) = self.state.flush();
                self.replies.insert(ask, reply);
                effects
            }
        };
        self.act(effects, context);
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let effects = self.state.due();
        self.act(effects, context);
    }
}

impl Sealing {
    /// Makes the journal report everything that is pending, whether or not it was reported before.
    fn attach(&self, context: &Context<Self>) {
        // Should this one have ended, the next one attaches and is told everything again.
        let listener = context.myself();
        let journal = &self.setup.journal;
        journal.attach(Box::new(move |notice| listener.cast(notice.into())));
    }

    fn act(&mut self, effects: Vec<Effect>, context: &mut Context<Self>) {
        let Setup {
            journal, transport, ..
        } = &self.setup;
        for effect in effects {
            match effect {
                Effect::Arm(pause) => context.arm((), pause),
                Effect::Seal => journal.seal(),
                Effect::SealFor(ask) => {
                    // To this incarnation: another one numbers its asks from one again.
                    let asker = context.myself();
                    journal.seal_and(Box::new(move || asker.cast(Message::Settled(ask))));
                }
                Effect::Send(batch) => transport.send(batch),
                Effect::FlushNow => transport.flush_now(),
                Effect::Forget(settlements) => {
                    transport.settled(settlements.clone());
                    journal.forget(settlements);
                }
                Effect::Answer(ask) => {
                    if let Some(reply) = self.replies.remove(&ask) {
                        // Whoever asked may have given up. Who is answered finds the counts of what
                        // was flushed.
                        journal.then(Box::new(move || {
                            let _ = reply.send(());
                        }));
                    }
                }
            }
        }
    }
}
