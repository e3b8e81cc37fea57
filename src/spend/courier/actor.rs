//! The actor around [`State`], and the tasks that ask Redis and SQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use redis::aio::ConnectionLike;

use super::Setup;
use super::message::Message;
use super::state::{Alarm, Answer, Effect, Question, State};
use crate::spend::settlement::Settlement;
use crate::spend::stream::Stream;
use crate::spend::transaction;
use crate::store::{BatchId, SealedBatch, Store};
use crate::supervision::{Actor, Context};

/// See the module.
pub(super) struct Courier<C> {
    setup: Setup<C>,
    state: State,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Courier<C> {
    type Message = Message;
    type Timer = Alarm;
    type Setup = Setup<C>;

    fn start(setup: Setup<C>, _: &mut Context<Self>) -> Self {
        // What the one before had is on its way again from now on.
        setup.forward.resend();
        let state = State::new(setup.rules);
        Self { setup, state }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let (state, now) = (&mut self.state, context.now());
        let effects = match message {
            Message::Carry(batch) => state.carry(batch, now),
            Message::Hurry => state.hurry(now),
            Message::Settled(settlements) => {
                state.settled(&settlements);
                Vec::new()
            }
            Message::Sent(ids, entries) => state.sent(&ids, entries, now, context.dice()),
            Message::Told(answer) => state.told(answer, now),
            Message::Carried(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(state.carried());
                Vec::new()
            }
        };
        self.act(effects, context);
    }

    fn due(&mut self, alarm: Alarm, context: &mut Context<Self>) {
        let effects = self.state.due(alarm, context.now());
        self.act(effects, context);
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Courier<C> {
    fn act(&self, effects: Vec<Effect>, context: &mut Context<Self>) {
        let Setup {
            journal,
            forward,
            flush,
            stats,
            ..
        } = &self.setup;
        for effect in effects {
            match effect {
                Effect::Arm(alarm, pause) => context.arm(alarm, pause),
                Effect::Append(batches) => self.append(batches, context),
                Effect::Held(ids) => journal.held(ids),
                Effect::Divert(batches) => {
                    stats.diverted.fetch_add(batches.len() as u64, Relaxed);
                    batches.into_iter().for_each(|batch| flush.offer(batch));
                }
                Effect::Hurry => flush.hurry(),
                Effect::Ask(question) => self.ask(question, context),
                Effect::Report(settlements) => forward.applied(settlements),
                Effect::Lost(batches) => {
                    stats.resent.fetch_add(batches as u64, Relaxed);
                    tracing::warn!(batches, "Redis has lost usage; it is sent again");
                }
            }
        }
    }

    fn append(&self, batches: Vec<Arc<SealedBatch>>, context: &Context<Self>) {
        let (stream, stats) = (self.setup.stream.clone(), Arc::clone(&self.setup.stats));
        context.spawn_detached(async move {
            let entries = match stream.append(&batches).await {
                Ok(entries) => {
                    let full = entries.len() < batches.len();
                    stats.redis_full.store(full, Relaxed);
                    entries
                }
                Err(error) => {
                    stats.redis_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, batches = batches.len(), "Redis does not take usage");
                    Vec::new()
                }
            };
            Message::Sent(batches.iter().map(|batch| batch.id).collect(), entries)
        });
    }

    fn ask(&self, question: Question, context: &Context<Self>) {
        let (store, stream) = (self.setup.store.clone(), self.setup.stream.clone());
        let stats = Arc::clone(&self.setup.stats);
        context.spawn_detached(async move {
            let answer = answer(&store, &stream, &question).await;
            Message::Told(match answer {
                Ok(answer) => Some(answer),
                Err(error) => {
                    stats.flush_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "the database does not say what it has");
                    None
                }
            })
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
