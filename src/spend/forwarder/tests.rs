//! What becomes of a batch after one event; and that any sequence of events brings every batch to the
//! database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use uuid::Uuid;

use super::Rules;
use super::state::{Alarm, Effect, Query, QueryResult, State};
use crate::domain::EntityKind;
use crate::spend::settlement::Settlement;
use crate::store::{BatchId, SealedBatch, SpendRow, SpendSums};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const RULES: Rules = Rules {
    accept_timeout: seconds(5),
    query_interval: seconds(1),
    check_interval: seconds(4),
    give_up: seconds(60),
};

fn id(seq: u64) -> BatchId {
    BatchId {
        producer: Uuid::nil(),
        seq,
    }
}

fn batch(seq: u64) -> Arc<SealedBatch> {
    Arc::new(SealedBatch {
        records: 1,
        ..SealedBatch::empty(id(seq))
    })
}

fn whole(seqs: impl IntoIterator<Item = u64>) -> Vec<Settlement> {
    seqs.into_iter()
        .map(|seq| Settlement::whole(id(seq)))
        .collect()
}

/// One whose batch 1 is in Redis.
fn holding(now: Instant) -> State {
    let mut state = State::new(RULES);
    assert_eq!(
        state.forward(batch(1), now),
        [Effect::Append(vec![batch(1)])]
    );
    let effects = state.sent(&[id(1)], vec!["7-0".to_owned()], now, 0.0);
    let expected = [
        Effect::Held(vec![id(1)]),
        Effect::Arm(Alarm::Query, RULES.query_interval),
    ];
    assert_eq!(effects, expected);
    state
}

fn only_query(effects: &[Effect]) -> Query {
    match effects {
        [Effect::Query(query)] => query.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_while_others_are_on_their_way_goes_next_and_in_order() {
    let (mut state, now) = (State::new(RULES), Instant::now());
    state.forward(batch(1), now);
    assert_eq!(state.forward(batch(3), now), []);
    assert_eq!(state.forward(batch(2), now), []);
    assert_eq!(state.forward(batch(2), now), [], "it is here already");
    let effects = state.sent(&[id(1)], vec!["7-0".to_owned()], now, 0.0);
    let next = Effect::Append(vec![batch(2), batch(3)]);
    assert_eq!(effects.last(), Some(&next));
}

#[test]
fn a_call_is_bounded_by_what_is_in_its_batches() {
    let large = |seq| {
        let row = SpendRow {
            kind: EntityKind::Key,
            entity: "k".into(),
            period: 0,
            spent: SpendSums::default(),
        };
        Arc::new(SealedBatch {
            spend: vec![row; 9_000],
            ..SealedBatch::empty(id(seq))
        })
    };
    let (mut state, now) = (State::new(RULES), Instant::now());
    state.forward(batch(1), now);
    for seq in 2..=5 {
        state.forward(large(seq), now);
    }
    let effects = state.sent(&[id(1)], vec!["7-0".to_owned()], now, 0.0);
    let next = Effect::Append(vec![large(2), large(3)]);
    assert_eq!(effects.last(), Some(&next));
}

#[test]
fn what_is_in_the_stream_is_asked_for_until_the_database_has_it() {
    let now = Instant::now();
    let mut state = holding(now);
    let query = only_query(&state.due(Alarm::Query, now + seconds(1)));
    assert_eq!((query.ids, query.checks), (vec![id(1)], vec![]));
    let nothing = state.queried(Some(QueryResult::default()), now + seconds(1));
    assert_eq!(nothing, [Effect::Arm(Alarm::Query, RULES.query_interval)]);
    state.due(Alarm::Query, now + seconds(2));
    let result = QueryResult {
        settled: whole([1]),
        ..QueryResult::default()
    };
    let effects = state.queried(Some(result), now + seconds(2));
    assert_eq!(effects, [Effect::Report(whole([1]))], "and queries no more");
    assert_eq!(state.due(Alarm::Query, now), []);
}

#[test]
fn what_redis_lost_is_sent_again() {
    let now = Instant::now();
    let mut state = holding(now);
    let query = only_query(&state.due(Alarm::Query, now + seconds(4)));
    assert_eq!(query.checks, [("7-0".to_owned(), id(1))]);
    let result = QueryResult {
        vanished: vec![id(1)],
        checked: vec![id(1)],
        ..QueryResult::default()
    };
    let effects = state.queried(Some(result), now + seconds(4));
    assert_eq!(effects, [Effect::Lost(1), Effect::Append(vec![batch(1)])]);
}

#[test]
fn a_redis_that_is_away_is_tried_again_and_then_bypassed() {
    let (mut state, now) = (State::new(RULES), Instant::now());
    state.forward(batch(1), now);
    let retry = state.sent(&[id(1)], vec![], now, 0.0);
    let pause = Duration::from_millis(50);
    let held = Effect::Held(vec![]);
    assert_eq!(retry, [held.clone(), Effect::Arm(Alarm::Retry, pause)]);
    let again = state.due(Alarm::Retry, now + pause);
    assert_eq!(again, [Effect::Append(vec![batch(1)])]);
    state.forward(batch(2), now + seconds(4));
    let overdue = state.sent(&[id(1)], vec![], now + seconds(5), 0.0);
    let both = vec![batch(1), batch(2)];
    let pause = Effect::Arm(Alarm::Retry, Duration::from_millis(100));
    assert_eq!(overdue, [held.clone(), Effect::Divert(both), pause]);
    // While it stays away nobody waits for it again, not even what tries whether it is back.
    let alone = state.forward(batch(3), now + seconds(6));
    assert_eq!(alone, [Effect::Divert(vec![batch(3)])]);
    assert_eq!(state.due(Alarm::Retry, now + seconds(6)), []);
    let tries = state.forward(batch(4), now + seconds(6));
    let append = Effect::Append(vec![batch(4)]);
    assert_eq!(tries, [append, Effect::Divert(vec![batch(4)])]);
    let alone = state.forward(batch(5), now + seconds(7));
    assert_eq!(alone, [Effect::Divert(vec![batch(5)])], "and it hangs");
    let back = state.sent(&[id(4)], vec!["9-0".to_owned()], now + seconds(8), 0.0);
    assert_eq!(back, [Effect::Held(vec![id(4)])]);
    let next = state.forward(batch(6), now + seconds(8));
    assert_eq!(next, [Effect::Append(vec![batch(6)])], "by Redis again");
}

#[test]
fn what_finds_no_room_waits_here() {
    let (mut state, now) = (State::new(RULES), Instant::now());
    state.forward(batch(1), now);
    state.forward(batch(2), now);
    state.sent(&[id(1)], vec!["7-0".to_owned()], now, 0.0);
    state.forward(batch(3), now);
    let effects = state.sent(&[id(2)], vec![], now, 0.0);
    let retry = Effect::Arm(Alarm::Retry, Duration::from_millis(50));
    assert_eq!(effects.last(), Some(&retry));
    let again = state.due(Alarm::Retry, now);
    assert_eq!(again, [Effect::Append(vec![batch(2), batch(3)])]);
}

#[test]
fn what_no_leader_writes_although_the_database_answers_bypasses_redis() {
    let now = Instant::now();
    let mut state = holding(now);
    for second in 1..=120 {
        let then = now + seconds(second);
        state.due(Alarm::Query, then);
        let checked = QueryResult {
            checked: vec![id(1)],
            ..QueryResult::default()
        };
        // It does not answer for the first minute.
        let result = (second >= 60).then_some(checked);
        let effects = state.queried(result, then);
        let diverted = effects.contains(&Effect::Divert(vec![batch(1)]));
        assert_eq!(diverted, second == 120, "{second}: {effects:?}");
    }
}

#[test]
fn flush_now_diverts_every_batch() {
    let now = Instant::now();
    let mut state = holding(now);
    state.forward(batch(2), now);
    let both = vec![batch(1), batch(2)];
    assert_eq!(
        state.flush_now(now),
        [Effect::Divert(both), Effect::FlushNow]
    );
    assert_eq!(
        state.flush_now(now),
        [Effect::FlushNow],
        "they are there already"
    );
    let late = state.sent(&[id(2)], vec!["8-0".to_owned()], now, 0.0);
    assert_eq!(late, [Effect::Held(vec![id(2)])], "and stays diverted");
    let again = state.forward(batch(1), now);
    assert_eq!(
        again,
        [Effect::Divert(vec![batch(1)])],
        "its flush actor crashed"
    );
}

#[derive(Clone, Debug)]
enum Event {
    Forward,
    /// Redis takes so many of those that are being sent, and the reply arrives or not.
    Append {
        takes: usize,
        reply_lost: bool,
    },
    Pass {
        seconds: u64,
    },
    /// SQL and Redis say what they have.
    Query {
        lost: bool,
    },
    /// The leader writes the first ones, and removes them or not.
    Drain {
        count: usize,
        removes: bool,
    },
    Flush,
    /// `FLUSHALL`
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Forward),
        4 => (0..4_usize, any::<bool>())
            .prop_map(|(takes, reply_lost)| Event::Append { takes, reply_lost }),
        4 => (0..8_u64).prop_map(|seconds| Event::Pass { seconds }),
        3 => any::<bool>().prop_map(|lost| Event::Query { lost }),
        3 => (0..4_usize, any::<bool>()).prop_map(|(count, removes)| Event::Drain { count, removes }),
        1 => Just(Event::Flush),
        1 => Just(Event::Forget),
    ]
}

/// A world around one forwarder: Redis, SQL, the local flush actor, time.
struct World {
    state: State,
    now: Instant,
    next: u64,
    alarms: Vec<(Instant, Alarm)>,
    sending: Option<Vec<Arc<SealedBatch>>>,
    querying: Option<Query>,
    stream: BTreeMap<String, BatchId>,
    entries: u64,
    flush: BTreeSet<BatchId>,
    applied: BTreeSet<BatchId>,
    reported: BTreeSet<BatchId>,
}

impl World {
    fn new() -> Self {
        Self {
            state: State::new(RULES),
            now: Instant::now(),
            next: 1,
            alarms: Vec::new(),
            sending: None,
            querying: None,
            stream: BTreeMap::new(),
            entries: 0,
            flush: BTreeSet::new(),
            applied: BTreeSet::new(),
            reported: BTreeSet::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Forward => {
                let effects = self.state.forward(batch(self.next), self.now);
                self.next += 1;
                self.act(effects);
            }
            Event::Append { takes, reply_lost } => self.append(takes, reply_lost),
            Event::Pass { seconds: passed } => self.pass(seconds(passed)),
            Event::Query { lost } => self.respond(lost),
            Event::Drain { count, removes } => {
                let read: Vec<_> = self.stream.iter().take(count).collect();
                self.applied.extend(read.iter().map(|(_, id)| **id));
                let entries: Vec<String> = read.into_iter().map(|(e, _)| e.clone()).collect();
                if removes {
                    self.stream.retain(|entry, _| !entries.contains(entry));
                }
            }
            Event::Flush => self.flush(),
            Event::Forget => self.stream.clear(),
        }
    }

    fn append(&mut self, takes: usize, reply_lost: bool) {
        let Some(batches) = self.sending.take() else {
            return;
        };
        let ids: Vec<_> = batches.iter().map(|batch| batch.id).collect();
        let mut entries = Vec::new();
        for id in ids.iter().take(takes) {
            self.entries += 1;
            entries.push(format!("{:06}-0", self.entries));
            self.stream.insert(format!("{:06}-0", self.entries), *id);
        }
        if reply_lost {
            entries.clear();
        }
        let effects = self.state.sent(&ids, entries, self.now, 0.5);
        self.act(effects);
    }

    fn pass(&mut self, passed: Duration) {
        self.now += passed;
        let due = |(at, _): &(Instant, Alarm)| *at <= self.now;
        let (due, later) = self.alarms.drain(..).partition(due);
        self.alarms = later;
        for (_, alarm) in due {
            let effects = self.state.due(alarm, self.now);
            self.act(effects);
        }
    }

    fn respond(&mut self, lost: bool) {
        let Some(query) = self.querying.take() else {
            return;
        };
        let result = (!lost).then(|| {
            let applied = |id: &&BatchId| self.applied.contains(*id);
            let settled: Vec<_> = query.ids.iter().filter(applied).copied().collect();
            let checks = query.checks.iter().filter(|(_, id)| !settled.contains(id));
            let gone = |(entry, id): &&(String, BatchId)| self.stream.get(entry) != Some(id);
            QueryResult {
                vanished: checks.clone().filter(gone).map(|(_, id)| *id).collect(),
                checked: checks.map(|(_, id)| *id).collect(),
                settled: settled.into_iter().map(Settlement::whole).collect(),
            }
        });
        let effects = self.state.queried(result, self.now);
        self.act(effects);
    }

    fn flush(&mut self) {
        let ids = std::mem::take(&mut self.flush);
        let settled: Vec<_> = ids.iter().copied().map(Settlement::whole).collect();
        self.applied.extend(&ids);
        self.reported.extend(&ids);
        self.state.settled(&settled);
    }

    fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Arm(alarm, pause) => self.alarms.push((self.now + pause, alarm)),
                Effect::Append(batches) => {
                    assert!(self.sending.replace(batches).is_none(), "one at a time");
                }
                Effect::Divert(batches) => self.flush.extend(batches.iter().map(|b| b.id)),
                Effect::Query(query) => {
                    assert!(self.querying.replace(query).is_none(), "one at a time");
                }
                Effect::Report(settled) => {
                    let ids: BTreeSet<_> = settled.iter().map(|one| one.id).collect();
                    assert!(ids.is_subset(&self.applied), "only what is there");
                    self.reported.extend(ids);
                }
                Effect::Held(_) | Effect::FlushNow | Effect::Lost(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_batch_arrives_once_the_faults_are_over(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut world = World::new();
        for event in &events {
            world.apply(event);
        }
        // From here on there are no faults.
        for _ in 0..40 {
            world.append(usize::MAX, false);
            world.apply(&Event::Drain { count: usize::MAX, removes: true });
            world.flush();
            world.respond(false);
            world.pass(seconds(5));
        }
        let all: BTreeSet<_> = (1..world.next).map(id).collect();
        prop_assert_eq!(&world.applied, &all);
        prop_assert_eq!(&world.reported, &all, "and the journal may forget them");
    }
}
