//! The shell around [`State`], and the tasks that ask Redis.

use std::marker::PhantomData;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use redis::aio::ConnectionLike;
use tokio::time::{Instant, timeout};

use super::message::Message;
use super::scripts::Scripts;
use super::state::{Asked, Effect, Renewed, State};
use super::{Arguments, Handle};

/// See the module.
pub(super) struct Lease<C>(PhantomData<C>);

/// The pure state, and what effects need.
pub(super) struct Holding<C> {
    arguments: Arguments<C>,
    handle: Handle,
    scripts: Scripts,
    state: State,
    resigning: Vec<RpcReplyPort<()>>,
}

impl<C> Lease<C> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Lease<C> {
    type Msg = Message;
    type State = Holding<C>;
    type Arguments = (Arguments<C>, Handle);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (arguments, handle): Self::Arguments,
    ) -> Result<Holding<C>, ActorProcessingErr> {
        handle.actor.occupy(myself.clone());
        let (state, effects) = State::new(arguments.ttl);
        let mut holding = Holding {
            scripts: Scripts::new(
                &arguments.prefix,
                arguments.name,
                &arguments.owner,
                arguments.ttl,
            ),
            arguments,
            handle,
            state,
            resigning: Vec::new(),
        };
        for effect in effects {
            holding.act(&myself, effect);
        }
        Ok(holding)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        holding: &mut Holding<C>,
    ) -> Result<(), ActorProcessingErr> {
        let (state, now) = (&mut holding.state, Instant::now());
        let effects = match message {
            Message::Due(timer) => state.due(timer, now),
            Message::Asked(sent, said) => state.asked(sent, said, now),
            Message::Renewed(sent, said) => state.renewed(sent, said, now),
            Message::Released => state.released(),
            Message::Surpassed(epoch) => state.surpassed(epoch),
            Message::Resign(reply) => {
                holding.resigning.push(reply);
                state.resign()
            }
        };
        for effect in effects {
            holding.act(&myself, effect);
        }
        Ok(())
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Holding<C> {
    fn act(&mut self, myself: &ActorRef<Message>, effect: Effect) {
        match effect {
            Effect::Arm(timer, pause) => {
                drop(myself.send_after(pause, move || Message::Due(timer)));
            }
            Effect::Acquire(_) | Effect::Renew | Effect::Release => self.ask(myself, effect),
            Effect::Publish(tenure) => {
                let before = self.handle.tenure.send_replace(tenure);
                match (before, tenure) {
                    (None, Some(now)) => tracing::info!(
                        lease = self.arguments.name,
                        epoch = now.epoch,
                        "this router leads"
                    ),
                    (Some(before), None) => tracing::info!(
                        lease = self.arguments.name,
                        epoch = before.epoch,
                        "this router leads no more"
                    ),
                    _ => {}
                }
            }
            Effect::Answer => {
                for reply in self.resigning.drain(..) {
                    // Whoever asked may have given up.
                    let _ = reply.send(());
                }
            }
        }
    }

    /// Asks Redis, and waits for its answer no longer than until the next time to ask.
    fn ask(&self, myself: &ActorRef<Message>, what: Effect) {
        let (scripts, limit) = (self.scripts.clone(), self.arguments.ttl / 3);
        let (mut connection, myself) = (self.arguments.connection.clone(), myself.clone());
        self.arguments.tracker.spawn(async move {
            let sent = Instant::now();
            let said = match what {
                Effect::Acquire(floor) => {
                    let asked = timeout(limit, scripts.acquire(&mut connection, floor)).await;
                    Message::Asked(sent, asked.unwrap_or(Asked::NoAnswer))
                }
                Effect::Renew => {
                    let renewed = timeout(limit, scripts.renew(&mut connection)).await;
                    Message::Renewed(sent, renewed.unwrap_or(Renewed::NoAnswer))
                }
                _ => {
                    let _ = timeout(limit, scripts.release(&mut connection)).await;
                    Message::Released
                }
            };
            // Should it be dead, its successor asks for itself.
            drop(myself.cast(said));
        });
    }
}
