//! The course against a world that does whatever it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::database::DatabaseId;
use crate::pubsub::item::GapCause;
use crate::pubsub::topic::TopicKind;

/// A message: the leg it came over, and its number on that leg.
type Sent = (LegId, u64);

const LIMITS: Limits = Limits {
    first_rest: Duration::from_millis(50),
    longest_rest: Duration::from_secs(2),
    held: 4,
};

fn database(id: u64) -> Database {
    Database {
        id: DatabaseId(id),
        name: format!("d{id}").into(),
    }
}

fn topic(number: u8) -> Topic {
    Topic::new(TopicKind::Channel, vec![number])
}

/// A connection in the world.
#[derive(Debug, Default)]
struct Connection {
    open: bool,
    /// Requests without an answer, in order.
    asked: VecDeque<(Topic, Token)>,
    sent: u64,
}

/// What the readers have seen.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(Sent),
    Gap(GapCause, Duration, u64),
    Interrupted,
    Settled(Topic),
    Refused(Topic),
}

struct World {
    state: State<Sent>,
    now: Instant,
    changes: u64,
    connections: BTreeMap<LegId, Connection>,
    leaving: BTreeSet<LegId>,
    rests: VecDeque<Token>,
    seen: Vec<Seen>,
}

impl World {
    fn new() -> Self {
        Self {
            state: State::new(LIMITS),
            now: Instant::now(),
            changes: 0,
            connections: BTreeMap::new(),
            leaving: BTreeSet::new(),
            rests: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    fn go(&mut self, goal: Option<u64>) {
        self.changes += 1;
        self.state.goes(goal.map(database), self.changes);
        self.act();
    }

    fn want(&mut self, number: u8) {
        self.state.want(&topic(number));
        self.act();
    }

    fn unwant(&mut self, number: u8) {
        self.state.unwant(&topic(number), self.now);
        self.act();
    }

    fn open(&mut self, leg: LegId) {
        let connection = self.connections.get_mut(&leg).unwrap();
        if !std::mem::replace(&mut connection.open, true) {
            assert!(self.state.opened(leg, self.now));
            self.act();
        }
    }

    /// Answers the oldest request of a leg.
    fn answer(&mut self, leg: LegId, granted: bool) {
        let asked = self.connections.get_mut(&leg).unwrap().asked.pop_front();
        if let Some((topic, token)) = asked {
            let answer = granted.then_some(()).ok_or_else(|| Arc::from("NOPERM"));
            self.state.answered(leg, &topic, token, answer, self.now);
            self.act();
        }
    }

    fn answer_all(&mut self, leg: LegId) {
        while self
            .connections
            .get(&leg)
            .is_some_and(|leg| !leg.asked.is_empty())
        {
            self.answer(leg, true);
        }
    }

    fn send(&mut self, leg: LegId) {
        let connection = self.connections.get_mut(&leg).unwrap();
        if connection.open {
            let message = (leg, connection.sent);
            connection.sent += 1;
            self.state.hear(leg, message, self.now);
            self.act();
        }
    }

    fn leave(&mut self, leg: LegId) {
        if self.leaving.remove(&leg) {
            self.state.left(leg, self.now);
            self.act();
        }
    }

    fn die(&mut self, leg: LegId) {
        self.state.died(leg, self.now, 0.5);
        self.act();
    }

    fn rest(&mut self) {
        if let Some(token) = self.rests.pop_front() {
            self.state.rested(token);
            self.act();
        }
    }

    /// Does what the course asks, and holds it to its promises.
    fn act(&mut self) {
        while let Some(act) = self.state.take() {
            match act {
                Act::Open { leg, .. } => {
                    assert!(self.connections.len() < 2, "a third connection");
                    self.connections.insert(leg, Connection::default());
                }
                Act::Subscribe { leg, topic, token } => {
                    let connection = self.connections.get_mut(&leg).unwrap();
                    assert!(connection.open);
                    connection.asked.push_back((topic, token));
                }
                Act::Unsubscribe { leg, .. } => assert!(self.connections[&leg].open),
                Act::Leave { leg, .. } => {
                    assert!(self.connections.contains_key(&leg));
                    self.leaving.insert(leg);
                }
                Act::Close { leg } => {
                    assert!(self.connections.remove(&leg).is_some(), "closed twice");
                    self.leaving.remove(&leg);
                }
                Act::Rest { token, .. } => self.rests.push_back(token),
                Act::Deliver(message) => self.seen.push(Seen::Message(message)),
                Act::Interrupted(_) => self.seen.push(Seen::Interrupted),
                Act::Gap(gap) => self
                    .seen
                    .push(Seen::Gap(gap.cause, gap.silence, gap.dropped)),
                Act::Settled(topic) => self.seen.push(Seen::Settled(topic)),
                Act::Refused(topic, _) => self.seen.push(Seen::Refused(topic)),
            }
        }
        self.hold_to_promises();
    }

    fn hold_to_promises(&self) {
        let legs: BTreeSet<LegId> = self
            .state
            .heard
            .iter()
            .chain(self.state.next.iter().map(|next| &next.leg))
            .map(|leg| leg.id)
            .collect();
        let open: BTreeSet<LegId> = self.connections.keys().copied().collect();
        assert_eq!(legs, open, "a connection nobody knows");
        for (topic, settled) in &self.state.wanted {
            if *settled {
                let heard = self
                    .state
                    .heard
                    .as_ref()
                    .expect("settled, and nobody is heard");
                assert!(heard.carries(topic), "settled, and not delivered");
            }
        }
        if let Some(next) = &self.state.next {
            assert!(next.held.len() <= LIMITS.held);
            if next.leaving {
                assert!(next.leg.is_ready() && self.state.heard.is_some());
            }
        }
        if self.state.wanted.is_empty() {
            assert!(open.is_empty(), "connected, and nobody listens");
        }
    }

    fn heard(&self) -> Option<LegId> {
        self.state.heard.as_ref().map(|leg| leg.id)
    }

    fn next(&self) -> Option<LegId> {
        self.state.next.as_ref().map(|next| next.leg.id)
    }

    /// Listens to database 1 for topic 1.
    fn listening() -> (Self, LegId) {
        let mut world = Self::new();
        world.go(Some(1));
        world.want(1);
        let leg = world.next().unwrap();
        world.open(leg);
        world.answer(leg, true);
        assert_eq!(world.heard(), Some(leg));
        assert_eq!(world.seen, [Seen::Settled(topic(1))]);
        world.seen.clear();
        (world, leg)
    }
}

#[test]
fn nobody_connects_until_somebody_wants_something() {
    let mut world = World::new();
    world.go(Some(1));
    assert!(world.connections.is_empty());
    world.want(1);
    assert_eq!(world.connections.len(), 1);
    world.unwant(1);
    assert!(world.connections.is_empty());
}

#[test]
fn the_new_database_is_subscribed_and_confirmed_before_the_old_is_left() {
    let (mut world, old) = World::listening();
    world.want(2);
    world.answer(old, true);
    world.seen.clear();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    world.answer(new, true);
    assert!(
        world.leaving.is_empty(),
        "left before everything was confirmed"
    );
    world.send(old);
    assert_eq!(world.seen, [Seen::Message((old, 0))]);
    world.answer(new, true);
    assert!(world.leaving.contains(&old));
    world.leave(old);
    assert_eq!(world.heard(), Some(new));
}

#[test]
fn what_the_new_one_brings_waits_until_the_old_one_has_said_everything() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    world.answer(new, true);
    world.send(new);
    world.send(old);
    world.send(new);
    world.send(old);
    world.leave(old);
    world.send(new);
    assert_eq!(
        world.seen,
        [
            Seen::Message((old, 0)),
            Seen::Message((old, 1)),
            Seen::Gap(GapCause::Moved, Duration::ZERO, 0),
            Seen::Message((new, 0)),
            Seen::Message((new, 1)),
            Seen::Message((new, 2)),
        ]
    );
}

#[test]
fn an_old_one_that_never_finishes_is_not_waited_for_when_the_room_is_full() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    world.answer(new, true);
    for _ in 0..5 {
        world.send(new);
    }
    let delivered: Vec<Seen> = (0..5).map(|number| Seen::Message((new, number))).collect();
    assert_eq!(world.seen[0], Seen::Gap(GapCause::Moved, Duration::ZERO, 0));
    assert_eq!(world.seen[1..], delivered);
    assert!(!world.connections.contains_key(&old));
}

#[test]
fn a_death_is_announced_when_it_happens_and_again_when_it_is_over() {
    let (mut world, old) = World::listening();
    world.now += Duration::from_secs(10);
    world.send(old);
    world.die(old);
    assert_eq!(world.seen, [Seen::Message((old, 0)), Seen::Interrupted]);
    world.seen.clear();
    world.now += Duration::from_secs(3);
    let new = world.next().expect("the first try is at once");
    world.open(new);
    world.answer(new, true);
    assert_eq!(
        world.seen,
        [
            Seen::Gap(GapCause::Reconnected, Duration::from_secs(3), 0),
            Seen::Settled(topic(1)),
        ]
    );
}

#[test]
fn a_database_that_keeps_breaking_is_tried_with_longer_and_longer_pauses() {
    let mut state = State::<Sent>::new(LIMITS);
    let now = Instant::now();
    state.want(&topic(1));
    state.goes(Some(database(1)), 1);
    let mut pauses = Vec::new();
    while pauses.len() < 8 {
        match state.take().unwrap() {
            Act::Open { leg, .. } => state.died(leg, now, 0.0),
            Act::Rest { after, token } => {
                pauses.push(after.as_millis());
                state.rested(token);
            }
            _ => {}
        }
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn another_database_is_not_made_to_wait_for_the_failures_of_the_first() {
    let mut world = World::new();
    world.want(1);
    world.go(Some(1));
    world.die(world.next().unwrap());
    assert_eq!(world.next(), None, "it rests");
    world.go(Some(2));
    assert!(world.next().is_some());
}

#[test]
fn a_dead_old_database_is_not_asked_for_a_farewell() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.die(old);
    world.now += Duration::from_millis(30);
    world.open(new);
    world.answer(new, true);
    assert!(world.leaving.is_empty());
    assert_eq!(world.seen[0], Seen::Interrupted);
    let silence = Duration::from_millis(30);
    assert_eq!(world.seen[1], Seen::Gap(GapCause::Moved, silence, 0));
}

#[test]
fn a_move_away_and_back_that_nobody_saw_is_still_a_gap() {
    let (mut world, leg) = World::listening();
    world.changes += 1;
    world.go(Some(1));
    assert_eq!(world.seen, [Seen::Gap(GapCause::Moved, Duration::ZERO, 0)]);
    assert_eq!(
        world.heard(),
        Some(leg),
        "the connection is as good as before"
    );
}

#[test]
fn a_pause_in_which_nobody_was_active_is_no_gap() {
    let (mut world, leg) = World::listening();
    world.go(None);
    world.go(Some(1));
    world.send(leg);
    assert_eq!(world.seen, [Seen::Message((leg, 0))]);
    world.go(None);
    world.changes += 1;
    world.go(Some(1));
    let gap = Seen::Gap(GapCause::Moved, Duration::ZERO, 0);
    assert_eq!(world.seen[1..], [gap], "somebody may have been active");
}

#[test]
fn without_an_active_database_the_last_one_is_heard_on() {
    let (mut world, leg) = World::listening();
    world.go(None);
    world.send(leg);
    assert_eq!(world.seen, [Seen::Message((leg, 0))]);
    world.die(leg);
    assert_eq!(world.next(), None);
    world.go(Some(2));
    assert!(world.next().is_some());
}

#[test]
fn what_the_new_database_does_not_allow_ends_when_it_takes_over_and_not_before() {
    let (mut world, old) = World::listening();
    world.want(2);
    world.answer(old, true);
    world.seen.clear();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    let refused = world.connections[&new].asked[0].0.clone();
    world.answer(new, false);
    world.answer(new, true);
    assert_eq!(world.seen, []);
    world.leave(old);
    let gap = Seen::Gap(GapCause::Moved, Duration::ZERO, 0);
    assert_eq!(world.seen, [gap, Seen::Refused(refused)]);
}

#[test]
fn a_wish_during_a_move_is_granted_when_both_have_confirmed_it() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    world.want(2);
    world.answer(old, true);
    assert_eq!(world.seen, [], "the new one might take over without it");
    world.answer_all(new);
    assert_eq!(world.seen, [Seen::Settled(topic(2))]);
}

#[test]
fn a_wish_does_not_wait_for_a_new_one_that_died() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    world.want(2);
    world.answer(old, true);
    world.die(new);
    assert_eq!(world.seen, [Seen::Settled(topic(2))]);
}

#[test]
fn a_move_does_not_wait_for_a_wish_that_was_given_up() {
    let (mut world, old) = World::listening();
    world.want(2);
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    let first = world.connections[&new].asked[0].0.clone();
    world.answer(new, true);
    world.unwant(if first == topic(1) { 2 } else { 1 });
    assert!(world.leaving.contains(&old));
}

#[test]
fn a_late_answer_to_an_earlier_wish_means_nothing() {
    let (mut world, leg) = World::listening();
    world.want(2);
    world.unwant(2);
    world.want(2);
    world.answer(leg, true);
    assert_eq!(
        world.seen,
        [],
        "that confirmed the subscription that was ended since"
    );
    world.answer(leg, true);
    assert_eq!(world.seen, [Seen::Settled(topic(2))]);
}

#[test]
fn who_comes_while_nobody_is_heard_waits() {
    let (mut world, leg) = World::listening();
    world.die(leg);
    world.seen.clear();
    world.want(1);
    assert_eq!(world.seen, []);
}

#[derive(Clone, Debug)]
enum Step {
    Go(Option<u64>),
    Miss,
    Want(u8),
    Unwant(u8),
    Open(bool),
    Answer(bool, bool),
    Send(bool),
    Leave,
    Die(bool),
    Rest,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop::option::weighted(0.8, 1_u64..4).prop_map(Step::Go),
        1 => Just(Step::Miss),
        2 => (0_u8..4).prop_map(Step::Want),
        1 => (0_u8..4).prop_map(Step::Unwant),
        4 => any::<bool>().prop_map(Step::Open),
        8 => (any::<bool>(), prop::bool::weighted(0.9)).prop_map(|(a, b)| Step::Answer(a, b)),
        8 => any::<bool>().prop_map(Step::Send),
        2 => Just(Step::Leave),
        1 => any::<bool>().prop_map(Step::Die),
        2 => Just(Step::Rest),
        1 => (0_u64..3000).prop_map(Step::Wait),
    ]
}

impl World {
    /// One of the two connections there may be.
    fn either(&self, last: bool) -> Option<LegId> {
        let mut legs = self.connections.keys().copied();
        if last { legs.next_back() } else { legs.next() }
    }

    fn take_step(&mut self, step: &Step) {
        let on = |world: &mut Self, last: bool, what: &dyn Fn(&mut Self, LegId)| {
            if let Some(leg) = world.either(last) {
                what(world, leg);
            }
        };
        match *step {
            Step::Go(goal) => self.go(goal),
            Step::Miss => self.changes += 1,
            Step::Want(number) => self.want(number),
            Step::Unwant(number) => self.unwant(number),
            Step::Open(last) => on(self, last, &Self::open),
            Step::Answer(last, granted) => {
                on(self, last, &|world, leg| world.answer(leg, granted));
            }
            Step::Send(last) => on(self, last, &Self::send),
            Step::Leave => {
                if let Some(leg) = self.leaving.first().copied() {
                    self.leave(leg);
                }
            }
            Step::Die(last) => on(self, last, &Self::die),
            Step::Rest => self.rest(),
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
        }
    }

    /// From here on everything works.
    fn settle(&mut self) {
        self.go(Some(1));
        for _ in 0..100 {
            self.rest();
            for leg in self.connections.keys().copied().collect::<Vec<_>>() {
                if self.connections.contains_key(&leg) {
                    self.open(leg);
                }
                self.answer_all(leg);
                self.leave(leg);
            }
        }
    }
}

/// A stream is whole: all of one leg, a gap, all of the next.
fn check_order(seen: &[Seen]) -> Result<(), TestCaseError> {
    let mut last: Option<Sent> = None;
    let mut left = BTreeSet::new();
    let (mut gap, mut deaf, mut dropped) = (false, false, 0);
    for item in seen {
        match item {
            Seen::Message((leg, number)) => {
                prop_assert!(!deaf, "a message between an interruption and its gap");
                prop_assert!(!left.contains(leg), "the old one after the new one");
                let expected = match last {
                    Some((before, last)) if before == *leg => last + 1,
                    Some((before, _)) => {
                        prop_assert!(gap, "a new leg without a gap");
                        left.insert(before);
                        0
                    }
                    // What came before the first promise was promised to nobody.
                    None => *number,
                };
                prop_assert!(
                    *number >= expected && *number - expected <= dropped,
                    "{} missing, {} announced",
                    number - expected,
                    dropped
                );
                dropped -= number - expected;
                (last, gap) = (Some((*leg, *number)), false);
            }
            Seen::Gap(_, _, lost) => (gap, deaf, dropped) = (true, false, dropped + lost),
            Seen::Interrupted => {
                prop_assert!(!deaf, "interrupted twice");
                deaf = true;
            }
            Seen::Settled(_) => prop_assert!(!deaf, "a promise while nobody is heard"),
            Seen::Refused(_) => {}
        }
    }
    Ok(())
}

proptest! {
    /// One reader listens to topic 0 throughout; everything else happens as it may.
    #[test]
    fn any_interleaving_keeps_the_order_and_announces_every_gap(
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let mut world = World::new();
        world.go(Some(1));
        world.want(0);
        for step in &steps {
            // The listener does not end, and is allowed to listen.
            if matches!(step, Step::Unwant(0) | Step::Answer(_, false)) {
                continue;
            }
            world.take_step(step);
        }
        check_order(&world.seen)?;
        world.settle();
        check_order(&world.seen)?;
        let heard = world.state.heard.as_ref().expect("somebody is heard in the end");
        prop_assert_eq!(heard.place.database.id, DatabaseId(1));
        prop_assert!(world.state.next.is_none());
        prop_assert!(world.state.wanted.values().all(|settled| *settled));
    }

    /// Everybody comes and goes, and may be refused.
    #[test]
    fn no_connection_is_leaked_and_no_promise_is_broken(
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take_step(step);
        }
        world.settle();
        prop_assert!(world.connections.len() <= 1);
        for number in 0..4 {
            world.unwant(number);
        }
        prop_assert!(world.connections.is_empty());
    }
}
