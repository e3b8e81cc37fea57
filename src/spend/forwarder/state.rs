//! Where each batch is, and what to do about it. Pure: the time and the random number are arguments.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Rules;
use crate::spend::queue::InTransit;
use crate::spend::settlement::Settlement;
use crate::store::{BatchId, SealedBatch};
use crate::supervision::Backoff;

/// Batches in one call, and their rows: Redis does nothing else meanwhile, and its answer has to come
/// in time. Twenty thousand rows are a megabyte, and as many as the largest batch has.
const MOST_AT_ONCE: usize = 32;
const MOST_ROWS_AT_ONCE: usize = 20_000;
/// Batches in one query.
const MOST_QUERIED: usize = 1_024;
/// Entries checked with one query.
const MOST_CHECKED: usize = 256;

/// A Redis that is away or full is asked again after 50 ms, and every second in the end.
const RETRIES: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// What a timer was armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spend) enum Alarm {
    /// To append again.
    Retry,
    /// To query what has become of what is in the stream.
    Query,
}

/// A query about batches in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::spend) struct Query {
    /// Which of these have been applied?
    pub(super) ids: Vec<BatchId>,
    /// Which of these, unless applied, are not in the stream any more?
    pub(super) checks: Vec<(String, BatchId)>,
}

/// Its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::spend) struct QueryResult {
    pub(super) settled: Vec<Settlement>,
    /// Neither in the stream nor, after that was seen, in the database.
    pub(super) vanished: Vec<BatchId>,
    /// Those that were checked, whatever the result.
    pub(super) checked: Vec<BatchId>,
}

/// What the shell is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Arm(Alarm, Duration),
    Append(Vec<Arc<SealedBatch>>),
    /// Redis has these.
    Held(Vec<BatchId>),
    /// Straight to SQL.
    Divert(Vec<Arc<SealedBatch>>),
    FlushNow,
    Query(Query),
    Report(Vec<Settlement>),
    /// Redis had these, and lost them.
    Lost(usize),
}

#[derive(Debug)]
struct Item {
    batch: Arc<SealedBatch>,
    place: Place,
    /// Since when it is there.
    since: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Here.
    Waiting,
    /// In the call that is under way.
    Going,
    /// In the stream; last checked at that moment.
    Held { entry: String, checked: Instant },
    /// With the flush actor of this router, which retries without end.
    Diverted,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    rules: Rules,
    items: BTreeMap<BatchId, Item>,
    /// How many items are where.
    waiting: usize,
    held: usize,
    /// A call is under way, or the pause after one that failed.
    busy: bool,
    /// The query timer is armed, or a query is under way.
    querying: bool,
    failures: u32,
    /// Since when Redis has not taken all that it was given.
    failing_since: Option<Instant>,
    /// Since when every query has been answered.
    reachable_since: Option<Instant>,
}

impl State {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            items: BTreeMap::new(),
            waiting: 0,
            held: 0,
            busy: false,
            querying: false,
            failures: 0,
            failing_since: None,
            reachable_since: None,
        }
    }

    pub(super) fn forward(&mut self, batch: Arc<SealedBatch>, now: Instant) -> Vec<Effect> {
        match self.items.get(&batch.id).map(|item| &item.place) {
            // The flush actor has restarted.
            Some(Place::Diverted) => vec![Effect::Divert(vec![batch])],
            Some(_) => Vec::new(),
            None => {
                let item = Item {
                    batch,
                    place: Place::Waiting,
                    since: now,
                };
                self.items.insert(item.batch.id, item);
                self.waiting += 1;
                let mut effects = self.append();
                if self.is_away(now) {
                    // What tries whether Redis is back does not wait for the answer, either.
                    let here = |item: &Item| matches!(item.place, Place::Waiting | Place::Going);
                    effects.extend(self.divert(here, now));
                }
                effects
            }
        }
    }

    /// Without what was diverted: the flush actor counts that.
    pub(super) fn in_transit(&self) -> InTransit {
        let mut in_transit = InTransit::default();
        for Item { batch, place, .. } in self.items.values() {
            match place {
                Place::Waiting | Place::Going => in_transit.to_redis.add(batch.records),
                Place::Held { .. } => in_transit.in_redis.add(batch.records),
                Place::Diverted => {}
            }
        }
        in_transit
    }

    pub(super) fn sent(
        &mut self,
        ids: &[BatchId],
        entries: Vec<String>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        self.busy = false;
        let taken = entries.len().min(ids.len());
        let mut entries = entries.into_iter();
        let mut held = Vec::with_capacity(taken);
        for &id in ids {
            let entry = entries.next();
            if entry.is_some() {
                held.push(id);
            }
            // What was diverted or settled meanwhile does not concern the stream any more.
            let Some(item) = self.items.get_mut(&id).filter(|i| i.place == Place::Going) else {
                continue;
            };
            match entry {
                Some(entry) => {
                    let checked = now;
                    item.place = Place::Held { entry, checked };
                    item.since = now;
                    self.held += 1;
                }
                None => {
                    item.place = Place::Waiting;
                    self.waiting += 1;
                }
            }
        }
        let mut effects = vec![Effect::Held(held)];
        effects.extend(self.query_later());
        if taken == ids.len() {
            (self.failures, self.failing_since) = (0, None);
            effects.extend(self.append());
        } else {
            self.failures = self.failures.saturating_add(1);
            self.failing_since.get_or_insert(now);
            if self.is_away(now) {
                effects.extend(self.divert(|item| item.place == Place::Waiting, now));
            }
            self.busy = true;
            let pause = RETRIES.delay(self.failures, random);
            effects.push(Effect::Arm(
                Alarm::Retry,
                pause.min(self.rules.accept_timeout),
            ));
        }
        effects
    }

    pub(super) fn due(&mut self, alarm: Alarm, now: Instant) -> Vec<Effect> {
        match alarm {
            Alarm::Retry => {
                self.busy = false;
                self.append()
            }
            Alarm::Query => self.query(now),
        }
    }

    pub(super) fn queried(&mut self, result: Option<QueryResult>, now: Instant) -> Vec<Effect> {
        self.querying = false;
        let Some(result) = result else {
            self.reachable_since = None;
            return Vec::from_iter(self.query_later());
        };
        let since = *self.reachable_since.get_or_insert(now);
        for id in &result.checked {
            if let Some(Item {
                place: Place::Held { checked, .. },
                ..
            }) = self.items.get_mut(id)
            {
                *checked = now;
            }
        }
        let mut lost = 0;
        for id in &result.vanished {
            let item = self.items.get_mut(id);
            let held = item.filter(|item| matches!(item.place, Place::Held { .. }));
            if let Some(item) = held {
                (item.place, item.since) = (Place::Waiting, now);
                self.held -= 1;
                self.waiting += 1;
                lost += 1;
            }
        }
        let mut effects = Vec::new();
        if lost > 0 {
            effects.push(Effect::Lost(lost));
        }
        if !result.settled.is_empty() {
            self.settled(&result.settled);
            effects.push(Effect::Report(result.settled));
        }
        let give_up = self.rules.give_up;
        let overdue = |item: &Item| {
            let held = matches!(item.place, Place::Held { .. });
            held && now.duration_since(item.since.max(since)) >= give_up
        };
        effects.extend(self.divert(overdue, now));
        effects.extend(self.query_later());
        effects.extend(self.append());
        effects
    }

    pub(super) fn settled(&mut self, settlements: &[Settlement]) {
        for settlement in settlements {
            match self.items.remove(&settlement.id).map(|item| item.place) {
                Some(Place::Waiting) => self.waiting -= 1,
                Some(Place::Held { .. }) => self.held -= 1,
                Some(Place::Going | Place::Diverted) | None => {}
            }
        }
    }

    pub(super) fn flush_now(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = self.divert(|item| item.place != Place::Diverted, now);
        effects.push(Effect::FlushNow);
        effects
    }

    /// Redis has accepted nothing for longer than the timeout.
    fn is_away(&self, now: Instant) -> bool {
        let away = |since| now.duration_since(since) >= self.rules.accept_timeout;
        self.failing_since.is_some_and(away)
    }

    fn append(&mut self) -> Vec<Effect> {
        if self.busy || self.waiting == 0 {
            return Vec::new();
        }
        let waiting = self.items.values_mut();
        let mut rows = 0;
        let going: Vec<_> = waiting
            .filter(|item| item.place == Place::Waiting)
            .take(MOST_AT_ONCE)
            .take_while(|item| {
                let first = rows == 0;
                // One for its id.
                rows += item.batch.row_count() + 1;
                first || rows <= MOST_ROWS_AT_ONCE
            })
            .map(|item| {
                item.place = Place::Going;
                Arc::clone(&item.batch)
            })
            .collect();
        self.waiting -= going.len();
        self.busy = true;
        vec![Effect::Append(going)]
    }

    fn divert(&mut self, which: impl Fn(&Item) -> bool, now: Instant) -> Vec<Effect> {
        let mut diverted = Vec::new();
        for item in self.items.values_mut().filter(|item| which(item)) {
            match item.place {
                Place::Waiting => self.waiting -= 1,
                Place::Held { .. } => self.held -= 1,
                Place::Going | Place::Diverted => {}
            }
            (item.place, item.since) = (Place::Diverted, now);
            diverted.push(Arc::clone(&item.batch));
        }
        if diverted.is_empty() {
            Vec::new()
        } else {
            vec![Effect::Divert(diverted)]
        }
    }

    fn query_later(&mut self) -> Option<Effect> {
        if self.held == 0 {
            // Nothing is queried, so nothing is known about SQL.
            self.reachable_since = None;
            return None;
        }
        (!std::mem::replace(&mut self.querying, true))
            .then_some(Effect::Arm(Alarm::Query, self.rules.query_interval))
    }

    fn query(&mut self, now: Instant) -> Vec<Effect> {
        self.querying = false;
        if self.held == 0 {
            return Vec::new();
        }
        self.querying = true;
        let mut query = Query::default();
        for (&id, item) in &self.items {
            let Place::Held { entry, checked } = &item.place else {
                continue;
            };
            if query.ids.len() == MOST_QUERIED {
                break;
            }
            query.ids.push(id);
            let old = now.duration_since(*checked) >= self.rules.check_interval;
            if old && query.checks.len() < MOST_CHECKED {
                query.checks.push((entry.clone(), id));
            }
        }
        vec![Effect::Query(query)]
    }
}

impl Query {
    /// What is left to check, once it is known what was applied.
    pub(super) fn unapplied(
        &self,
        applied: &HashMap<BatchId, Settlement>,
    ) -> Vec<(String, BatchId)> {
        let checks = self.checks.iter();
        checks
            .filter(|(_, id)| !applied.contains_key(id))
            .cloned()
            .collect()
    }
}
