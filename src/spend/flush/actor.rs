//! The shell around [`State`], and the task that runs the transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use super::Arguments;
use super::message::Message;
use super::state::{Effect, State};
use crate::spend::settlement::Settlement;
use crate::spend::transaction;
use crate::store::SealedBatch;
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
            Message::Written(done) => state.written(done, fastrand::f64()),
            Message::Queued(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(state.queued());
                Vec::new()
            }
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
            Effect::Report(settlements) => self.arguments.forward.applied(settlements),
            Effect::Prune => self.arguments.prune.begin(),
        }
    }

    fn write(&self, myself: ActorRef<Message>, batches: Vec<Arc<SealedBatch>>) {
        let (store, stats) = (
            self.arguments.store.clone(),
            Arc::clone(&self.arguments.stats),
        );
        self.arguments.tracker.spawn(async move {
            let mut outcome = Outcome { myself, done: None };
            let began = Instant::now();
            // Without a fence: these are this router's own, and their ids are enough.
            match transaction::write(&store, &batches, None, &stats).await {
                Ok(settlements) => outcome.done = Some(settlements),
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
    done: Option<Vec<Settlement>>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        // Should it be dead, its successor asks for everything again.
        drop(self.myself.cast(Message::Written(self.done.take())));
    }
}
