//! Ticks: what all who watch are shown in one half of a second, made once by whoever asks first, and not at
//! all while nobody does.
//!
//! A tick remembers the tables of the one before it, so that what differs can be told; whoever missed one is
//! shown everything anew. There is no queue for anybody.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::time::Instant;

use super::happened::{Happened, told};
use super::jobs;
use super::table::Table;
use super::topics::Topic;
use crate::http::State;

/// How long one lasts.
const TICK: Duration = Duration::from_millis(500);

const TOPICS: usize = Topic::ALL.len();
type Tables = [OnceLock<Arc<Table>>; TOPICS];

/// The ticks of one router. Clones share them.
#[derive(Clone, Debug)]
pub struct Ticks {
    begin: Instant,
    current: Arc<ArcSwap<Tick>>,
}

/// What is shown in one half of a second.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) number: u64,
    tables: Tables,
    before: [Option<Arc<Table>>; TOPICS],
    snapshots: [OnceLock<Bytes>; TOPICS],
    deltas: [OnceLock<Option<Bytes>>; TOPICS],
    /// Where the state of each server was in its history.
    seen: OnceLock<Happened>,
    seen_before: Option<Happened>,
    events: OnceLock<Vec<Bytes>>,
    jobs: OnceLock<Vec<Bytes>>,
}

impl Default for Ticks {
    fn default() -> Self {
        let none = std::array::from_fn(|_| None);
        Self {
            begin: Instant::now(),
            current: Arc::new(ArcSwap::from_pointee(Tick::new(0, none, None))),
        }
    }
}

impl Ticks {
    /// When the tick of this number begins.
    pub(super) fn begins(&self, number: u64) -> Instant {
        self.begin + TICK * u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// The one that is now.
    pub(super) fn now(&self) -> Arc<Tick> {
        let passed = self.begin.elapsed().as_millis() / TICK.as_millis();
        self.at(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The tick of this number, or a later one that is there already.
    fn at(&self, number: u64) -> Arc<Tick> {
        loop {
            let current = self.current.load_full();
            if current.number >= number {
                return current;
            }
            let next = Arc::new(Tick::after(&current, number));
            let former = self.current.compare_and_swap(&current, Arc::clone(&next));
            if Arc::ptr_eq(&former, &current) {
                return next;
            }
            // Somebody else was faster; that one counts.
        }
    }
}

impl Tick {
    fn new(
        number: u64,
        before: [Option<Arc<Table>>; TOPICS],
        seen_before: Option<Happened>,
    ) -> Self {
        Self {
            number,
            before,
            seen_before,
            tables: Default::default(),
            snapshots: Default::default(),
            deltas: Default::default(),
            seen: OnceLock::new(),
            events: OnceLock::new(),
            jobs: OnceLock::new(),
        }
    }

    /// What the former one shows is what the next one is compared with, if it comes right after it.
    fn after(former: &Self, number: u64) -> Self {
        let follows = former.number + 1 == number;
        let table = |at: usize| former.tables[at].get().filter(|_| follows).cloned();
        let seen = former.seen.get().filter(|_| follows).cloned();
        Self::new(number, std::array::from_fn(table), seen)
    }

    /// Everything there is of a topic that is prepared.
    pub(super) fn snapshot(&self, topic: Topic) -> Bytes {
        let table = self.table(topic);
        let snapshot = || table.map(|table| table.snapshot(self.number));
        let made = self.snapshots[topic as usize].get_or_init(|| snapshot().unwrap_or_default());
        made.clone()
    }

    /// What of a topic that is prepared is other than one tick before. `Err` when that is not known.
    pub(super) fn delta(&self, topic: Topic) -> Result<Option<Bytes>, Missed> {
        let at = topic as usize;
        let before = self.before[at].as_ref().ok_or(Missed)?;
        let delta = || self.table(topic)?.delta(before, self.number);
        Ok(self.deltas[at].get_or_init(delta).clone())
    }

    /// The jobs that are new or have got on since one tick before; nothing when that is not known.
    pub(super) fn jobs(&self) -> &[Bytes] {
        let (before, now) = (&self.before[Topic::Jobs as usize], self.table(Topic::Jobs));
        self.jobs.get_or_init(|| match (before, now) {
            (Some(before), Some(now)) => jobs::told(before, now),
            _ => Vec::new(),
        })
    }

    /// What has happened since one tick before.
    pub(super) fn events(&self, state: &State) -> &[Bytes] {
        let seen = self.seen.get_or_init(|| Happened::until_now(state));
        self.events.get_or_init(|| match &self.seen_before {
            Some(before) => told(before, seen),
            None => Vec::new(),
        })
    }

    /// Makes the topic's table, unless it is there: everything else is made of it.
    pub(super) async fn prepare(&self, topic: Topic, state: &State) {
        let place = &self.tables[topic as usize];
        if place.get().is_none() {
            // Of several that are made at once, the first counts.
            let _ = place.set(Arc::new(topic.table(state).await));
        }
    }

    fn table(&self, topic: Topic) -> Option<&Arc<Table>> {
        self.tables[topic as usize].get()
    }
}

/// Nobody has watched one tick before.
#[derive(Debug)]
pub(super) struct Missed;
