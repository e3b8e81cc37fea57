//! The shell around [`State`], and the task that runs the transaction.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use super::Arguments;
use super::message::Message;
use super::state::{Effect, State};
use crate::store::{self, BatchId, SealedBatch};
use crate::supervision::Slot;

/// See the module.
pub(super) struct Flush;

/// The pure state, and what effects need.
pub(super) struct Flushing {
    arguments: Arguments,
    state: State,
}

impl Actor for Flush {
    type Msg = Message;
    type State = Flushing;
    type Arguments = (Arguments, Slot<Message>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (arguments, slot): Self::Arguments,
    ) -> Result<Flushing, ActorProcessingErr> {
        slot.occupy(myself);
        // What the one before had is on its way again from now on.
        arguments.forward.resend();
        let state = State::new(arguments.interval);
        Ok(Flushing { arguments, state })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        flushing: &mut Flushing,
    ) -> Result<(), ActorProcessingErr> {
        let state = &mut flushing.state;
        let effects = match message {
            Message::Offer(batch) => state.offer(batch),
            Message::Hurry => state.hurry(),
            Message::Due(timer) => state.due(timer),
            Message::Written(ids, done) => state.written(ids, done, fastrand::f64()),
        };
        for effect in effects {
            flushing.act(&myself, effect);
        }
        Ok(())
    }
}

impl Flushing {
    fn act(&self, myself: &ActorRef<Message>, effect: Effect) {
        match effect {
            Effect::ArmTimer(timer, pause) => {
                drop(myself.send_after(pause, move || Message::Due(timer)));
            }
            Effect::Write(batches) => self.write(myself.clone(), batches),
            Effect::Report(ids) => self.arguments.forward.applied(ids),
        }
    }

    fn write(&self, myself: ActorRef<Message>, batches: Vec<Arc<SealedBatch>>) {
        let (database, stats) = (
            self.arguments.store.clone(),
            Arc::clone(&self.arguments.stats),
        );
        self.arguments.tracker.spawn(async move {
            let mut outcome = Outcome {
                myself,
                ids: batches.iter().map(|batch| batch.id).collect(),
                done: false,
            };
            let began = Instant::now();
            let flush = store::Flush {
                batches: &batches,
                ..store::Flush::default()
            };
            match database.apply(flush).await {
                Ok(_) => outcome.done = true,
                Err(error) => {
                    stats.flush_errors.fetch_add(1, Relaxed);
                    tracing::error!(%error, batches = batches.len(), "usage is not in the database yet");
                }
            }
            stats.flush_seconds.observe(began.elapsed().as_secs_f64());
        });
    }
}

/// Tells the actor how it went, even if the task panics: it waits for nothing else.
struct Outcome {
    myself: ActorRef<Message>,
    ids: Vec<BatchId>,
    done: bool,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let written = Message::Written(mem::take(&mut self.ids), self.done);
        // Should it be dead, its successor asks for everything again.
        drop(self.myself.cast(written));
    }
}
