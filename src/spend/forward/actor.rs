//! The shell around [`State`].

use std::collections::BTreeMap;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::Arguments;
use super::message::Message;
use super::state::{Ask, Effect, State};
use crate::supervision::Slot;

/// See the module.
pub(super) struct Forward;

/// The pure state, and what effects need.
pub(super) struct Forwarding {
    arguments: Arguments,
    state: State,
    replies: BTreeMap<Ask, RpcReplyPort<()>>,
}

impl Actor for Forward {
    type Msg = Message;
    type State = Forwarding;
    type Arguments = (Arguments, Slot<Message>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (arguments, slot): Self::Arguments,
    ) -> Result<Forwarding, ActorProcessingErr> {
        slot.occupy(myself.clone());
        let forwarding = Forwarding {
            state: State::new(arguments.interval, arguments.longest),
            arguments,
            replies: BTreeMap::new(),
        };
        forwarding.attach(&myself);
        Ok(forwarding)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        forwarding: &mut Forwarding,
    ) -> Result<(), ActorProcessingErr> {
        let state = &mut forwarding.state;
        let effects = match message {
            Message::Unsealed(owed) => state.unsealed(owed),
            Message::Due => state.due(),
            Message::Sealed(batch) => state.sealed(batch),
            Message::Applied(settlements) => state.applied(settlements),
            Message::Settled(ask) => state.settled(ask),
            Message::Resend => {
                forwarding.attach(&myself);
                Vec::new()
            }
            Message::Flush(reply) => {
                let (ask, effects) = state.flush();
                forwarding.replies.insert(ask, reply);
                effects
            }
        };
        for effect in effects {
            forwarding.act(&myself, effect);
        }
        Ok(())
    }
}

impl Forwarding {
    /// Hears from the journal of everything that is owed, whether or not it was told before.
    fn attach(&self, myself: &ActorRef<Message>) {
        let listener = myself.clone();
        self.arguments.journal.attach(Box::new(move |notice| {
            // Should it be dead, its successor attaches and is told everything again.
            drop(listener.cast(notice.into()));
        }));
    }

    fn act(&mut self, myself: &ActorRef<Message>, effect: Effect) {
        let Arguments {
            journal, carrier, ..
        } = &self.arguments;
        match effect {
            Effect::ArmTimer(pause) => drop(myself.send_after(pause, || Message::Due)),
            Effect::Seal => journal.seal(),
            Effect::SealFor(ask) => {
                // To this incarnation: another one numbers its asks anew.
                let asker = myself.clone();
                journal.seal_and(Box::new(move || drop(asker.cast(Message::Settled(ask)))));
            }
            Effect::Carry(batch) => carrier.carry(batch),
            Effect::Hurry => carrier.hurry(),
            Effect::Forget(settlements) => {
                carrier.settled(settlements.clone());
                journal.forget(settlements);
            }
            Effect::Answer(ask) => {
                if let Some(reply) = self.replies.remove(&ask) {
                    // Whoever asked may have given up.
                    let _ = reply.send(());
                }
            }
        }
    }
}
