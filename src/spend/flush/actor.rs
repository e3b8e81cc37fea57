//! The actor around [`State`], and the task that runs the transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::Setup;
use super::message::Message;
use super::state::{Effect, State};
use crate::spend::transaction;
use crate::store::SealedBatch;
use crate::supervision::{Actor, Context};

/// See the module.
pub(super) struct Flush {
    setup: Setup,
    state: State,
}

impl Actor for Flush {
    type Message = Message;
    type Timer = ();
    type Setup = Setup;

    fn start(setup: Setup, _: &mut Context<Self>) -> Self {
        // The batches of the incarnation before are sent again.
        setup.sealing.resend();
        let state = State::new(setup.interval);
        Self { setup, state }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let effects = match message {
            Message::Offer(batch) => self.state.offer(batch),
            Message::FlushNow => self.state.flush_now(),
            Message::Written(done) => self.state.written(done, context.random()),
            Message::Queued(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(self.state.queued());
                Vec::new()
            }
        };
        self.act(effects, context);
    }

    fn due(&mut self, (): (), context: &mut Context<Self>) {
        let effects = self.state.due();
        self.act(effects, context);
    }
}

impl Flush {
    fn act(&self, effects: Vec<Effect>, context: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Arm(pause) => context.arm((), pause),
                Effect::Write(batches) => self.write(batches, context),
                Effect::Report(settlements) => self.setup.sealing.applied(settlements),
                Effect::Prune => self.setup.prune.begin(),
            }
        }
    }

    fn write(&self, batches: Vec<Arc<SealedBatch>>, context: &Context<Self>) {
        let (store, stats) = (self.setup.store.clone(), Arc::clone(&self.setup.stats));
        context.spawn_detached(async move {
            let began = Instant::now();
            // Without a fence: these are this router's own, and their ids are enough.
            let written = transaction::write(&store, &batches, None, &stats).await;
            stats.flush_seconds.observe(began.elapsed().as_secs_f64());
            Message::Written(match written {
                Ok(settlements) => Some(settlements),
                Err(error) => {
                    stats.flush_errors.fetch_add(1, Relaxed);
                    tracing::error!(%error, batches = batches.len(), "usage is not in the database yet");
                    None
                }
            })
        });
    }
}
