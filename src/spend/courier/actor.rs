//! The shell around [`State`], and the tasks that ask Redis and SQL.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use redis::aio::ConnectionLike;
use tokio::time::Instant;

use super::Arguments;
use super::message::Message;
use super::state::{Answer, Effect, Question, State};
use crate::spend::settlement::Settlement;
use crate::spend::stream::Stream;
use crate::spend::transaction;
use crate::store::{BatchId, SealedBatch, Store};
use crate::supervision::Slot;

/// See the module.
pub(super) struct Courier<C>(PhantomData<C>);

/// The pure state, and what effects need.
pub(super) struct Carrying<C> {
    arguments: Arguments<C>,
    state: State,
}

impl<C> Courier<C> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Courier<C> {
    type Msg = Message;
    type State = Carrying<C>;
    type Arguments = (Arguments<C>, Slot<Message>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (arguments, slot): Self::Arguments,
    ) -> Result<Carrying<C>, ActorProcessingErr> {
        slot.occupy(myself);
        // What the one before had is on its way again from now on.
        arguments.forward.resend();
        let state = State::new(arguments.rules);
        Ok(Carrying { arguments, state })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        carrying: &mut Carrying<C>,
    ) -> Result<(), ActorProcessingErr> {
        let (state, now) = (&mut carrying.state, Instant::now());
        let effects = match message {
            Message::Carry(batch) => state.carry(batch, now),
            Message::Hurry => state.hurry(now),
            Message::Settled(settlements) => {
                state.settled(&settlements);
                Vec::new()
            }
            Message::Due(alarm) => state.due(alarm, now),
            Message::Sent(ids, entries) => state.sent(&ids, entries, now, fastrand::f64()),
            Message::Told(answer) => state.told(answer, now),
            Message::Carried(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(state.carried());
                Vec::new()
            }
        };
        for effect in effects {
            carrying.act(&myself, effect);
        }
        Ok(())
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Carrying<C> {
    fn act(&self, myself: &ActorRef<Message>, effect: Effect) {
        let Arguments {
            journal,
            forward,
            flush,
            stats,
            ..
        } = &self.arguments;
        match effect {
            Effect::Arm(alarm, pause) => {
                drop(myself.send_after(pause, move || Message::Due(alarm)));
            }
            Effect::Append(batches) => self.append(myself.clone(), batches),
            Effect::Held(ids) => journal.held(ids),
            Effect::Divert(batches) => {
                stats.diverted.fetch_add(batches.len() as u64, Relaxed);
                batches.into_iter().for_each(|batch| flush.offer(batch));
            }
            Effect::Hurry => flush.hurry(),
            Effect::Ask(question) => self.ask(myself.clone(), question),
            Effect::Report(settlements) => forward.applied(settlements),
            Effect::Lost(batches) => {
                stats.resent.fetch_add(batches as u64, Relaxed);
                tracing::warn!(batches, "Redis has lost usage; it is sent again");
            }
        }
    }

    fn append(&self, myself: ActorRef<Message>, batches: Vec<Arc<SealedBatch>>) {
        let stream = self.arguments.stream.clone();
        let stats = Arc::clone(&self.arguments.stats);
        self.arguments.tracker.spawn(async move {
            let mut sent = Sent {
                myself,
                ids: batches.iter().map(|batch| batch.id).collect(),
                entries: Vec::new(),
            };
            match stream.append(&batches).await {
                Ok(entries) => {
                    stats
                        .redis_full
                        .store(entries.len() < batches.len(), Relaxed);
                    sent.entries = entries;
                }
                Err(error) => {
                    stats.redis_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, batches = batches.len(), "Redis does not take usage");
                }
            }
        });
    }

    fn ask(&self, myself: ActorRef<Message>, question: Question) {
        let (store, stream) = (self.arguments.store.clone(), self.arguments.stream.clone());
        let stats = Arc::clone(&self.arguments.stats);
        self.arguments.tracker.spawn(async move {
            let mut told = Told {
                myself,
                answer: None,
            };
            match answer(&store, &stream, &question).await {
                Ok(answer) => told.answer = Some(answer),
                Err(error) => {
                    stats.flush_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "the database does not say what it has");
                }
            }
        });
    }
}

async fn answer<C: ConnectionLike + Clone + Send + Sync + 'static>(
    store: &Store,
    stream: &Stream<C>,
    question: &Question,
) -> Result<Answer, crate::store::Error> {
    let mut applied = settled(store, &question.ids).await?;
    let looks = question.unapplied(&applied);
    let mut answer = Answer::default();
    match stream.vanished(&looks).await {
        Ok(vanished) => {
            answer.looked = looks.into_iter().map(|(_, id)| id).collect();
            // Whoever leads commits first and deletes then, so what is not there may be written
            // since we asked.
            let late = settled(store, &vanished).await?;
            let lost = |id: &BatchId| !late.contains_key(id);
            answer.vanished = vanished.into_iter().filter(lost).collect();
            applied.extend(late);
        }
        Err(error) => tracing::debug!(%error, "Redis does not say what it has"),
    }
    answer.settled = applied.into_values().collect();
    Ok(answer)
}

async fn settled(
    store: &Store,
    ids: &[BatchId],
) -> Result<HashMap<BatchId, Settlement>, crate::store::Error> {
    let settled = transaction::settled(store, ids).await?;
    Ok(settled.into_iter().map(|one| (one.id, one)).collect())
}

/// Tells the actor how it went, even if the task panics: it waits for nothing else.
struct Sent {
    myself: ActorRef<Message>,
    ids: Vec<BatchId>,
    entries: Vec<String>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let sent = Message::Sent(mem::take(&mut self.ids), mem::take(&mut self.entries));
        // Should it be dead, its successor sends everything again.
        drop(self.myself.cast(sent));
    }
}

/// As [`Sent`].
struct Told {
    myself: ActorRef<Message>,
    answer: Option<Answer>,
}

impl Drop for Told {
    fn drop(&mut self) {
        drop(self.myself.cast(Message::Told(self.answer.take())));
    }
}
