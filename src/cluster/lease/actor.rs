//! The actor around [`State`], and the tasks that ask Redis.

use std::sync::Arc;

use redis::aio::ConnectionLike;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::message::Message;
use super::scripts::Scripts;
use super::state::{Asked, Effect, Renewed, State};
use super::{Leadership, Setup};
use crate::supervision::{Actor, Context, Reply};

/// Where the leadership is published.
type Published = Arc<watch::Sender<Option<Leadership>>>;

/// See the module.
pub(super) struct Lease<C> {
    setup: Setup<C>,
    published: Published,
    scripts: Scripts,
    state: State,
    resigning: Vec<Reply<()>>,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Lease<C> {
    type Message = Message;
    type Timer = ();
    type Setup = (Setup<C>, Published);

    fn start((setup, published): Self::Setup, context: &mut Context<Self>) -> Self {
        let (state, effects) = State::new(setup.ttl);
        let mut lease = Self {
            scripts: Scripts::new(&setup.prefix, setup.name, &setup.owner, setup.ttl),
            setup,
            published,
            state,
            resigning: Vec::new(),
        };
        lease.act(effects, context);
        lease
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let (state, now) = (&mut self.state, context.now());
        let effects = match message {
            Message::Asked(sent, reply) => state.asked(sent, reply, now),
            Message::Renewed(sent, reply) => state.renewed(sent, reply, now),
            Message::Released => state.released(),
            Message::Superseded(epoch) => state.superseded(epoch),
            Message::Resign(reply) => {
                self.resigning.push(reply);
                state.resign()
            }
        };
        self.act(effects, context);
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let effects = self.state.due(context.now());
        self.act(effects, context);
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Lease<C> {
    fn act(&mut self, effects: Vec<Effect>, context: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Arm(pause) => context.arm((), pause),
                Effect::Acquire(_) | Effect::Renew | Effect::Release => self.ask(effect, context),
                Effect::Publish(leadership) => self.publish(leadership),
                Effect::Answer => {
                    for reply in self.resigning.drain(..) {
                        // Whoever asked may have given up.
                        let _ = reply.send(());
                    }
                }
            }
        }
    }

    fn publish(&self, leadership: Option<Leadership>) {
        let (lease, before) = (self.setup.name, self.published.send_replace(leadership));
        match (before, leadership) {
            (None, Some(Leadership { epoch, .. })) => {
                tracing::info!(lease, epoch, "this router leads")
            }
            (Some(Leadership { epoch, .. }), None) => {
                tracing::info!(lease, epoch, "this router does not lead any more");
            }
            _ => {}
        }
    }

    /// Asks Redis, and waits for its answer no longer than until the next time to ask.
    fn ask(&self, what: Effect, context: &Context<Self>) {
        let (scripts, limit) = (self.scripts.clone(), self.setup.ttl / 3);
        let mut connection = self.setup.connection.clone();
        context.spawn(async move {
            let sent = Instant::now();
            match what {
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
            }
        });
    }
}
