//! The actor around [`State`], and the tasks that ask Redis and SQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use redis::aio::ConnectionLike;

use super::Setup;
use super::message::Message;
use super::state::{Alarm, Effect, Query, QueryResult, State};
use crate::spend::settlement::Settlement;
use crate::spend::stream::Stream;
use crate::spend::transaction;
use crate::store::{BatchId, SealedBatch, Store};
use crate::supervision::{Actor, Context};

/// See the module.
pub(super) struct Forwarder<C> {
    setup: Setup<C>,
    state: State,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Actor for Forwarder<C> {
    type Message = Message;
    type Timer = Alarm;
    type Setup = Setup<C>;

    fn start(setup: Setup<C>, _: &mut Context<Self>) -> Self {
        // The batches of the incarnation before are sent again.
        setup.sealing.resend();
        let state = State::new(setup.rules);
        Self { setup, state }
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        let (state, now) = (&mut self.state, context.now());
        let effects = match message {
            Message::Forward(batch) => state.forward(batch, now),
            Message::FlushNow => state.flush_now(now),
            Message::Settled(settlements) => {
                state.settled(&settlements);
                Vec::new()
            }
            Message::Sent(ids, entries) => state.sent(&ids, entries, now, context.random()),
            Message::Queried(result) => state.queried(result, now),
            Message::InTransit(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(state.in_transit());
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

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Forwarder<C> {
    fn act(&self, effects: Vec<Effect>, context: &mut Context<Self>) {
        let Setup {
            journal,
            sealing,
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
                Effect::FlushNow => flush.flush_now(),
                Effect::Query(query) => self.query(query, context),
                Effect::Report(settlements) => sealing.applied(settlements),
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
                    tracing::warn!(%error, batches = batches.len(), "cannot append usage to Redis");
                    Vec::new()
                }
            };
            Message::Sent(batches.iter().map(|batch| batch.id).collect(), entries)
        });
    }

    fn query(&self, query: Query, context: &Context<Self>) {
        let (store, stream) = (self.setup.store.clone(), self.setup.stream.clone());
        let stats = Arc::clone(&self.setup.stats);
        context.spawn_detached(async move {
            let result = run(&store, &stream, &query).await;
            Message::Queried(match result {
                Ok(result) => Some(result),
                Err(error) => {
                    stats.flush_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "cannot ask the database what it has applied");
                    None
                }
            })
        });
    }
}

async fn run<C: ConnectionLike + Clone + Send + Sync + 'static>(
    store: &Store,
    stream: &Stream<C>,
    query: &Query,
) -> Result<QueryResult, crate::store::Error> {
    let mut applied = settled(store, &query.ids).await?;
    let checks = query.unapplied(&applied);
    let mut result = QueryResult::default();
    match stream.vanished(&checks).await {
        Ok(vanished) => {
            result.checked = checks.into_iter().map(|(_, id)| id).collect();
            // Whoever leads commits first and deletes then, so what is not there may be written
            // since we asked.
            let late = settled(store, &vanished).await?;
            let lost = |id: &BatchId| !late.contains_key(id);
            result.vanished = vanished.into_iter().filter(lost).collect();
            applied.extend(late);
        }
        Err(error) => tracing::debug!(%error, "cannot ask Redis which entries it has"),
    }
    result.settled = applied.into_values().collect();
    Ok(result)
}

async fn settled(
    store: &Store,
    ids: &[BatchId],
) -> Result<HashMap<BatchId, Settlement>, crate::store::Error> {
    let settled = transaction::settled(store, ids).await?;
    Ok(settled.into_iter().map(|one| (one.id, one)).collect())
}
