//! The state against a world in which anything may happen in any order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::database::DatabaseId;
use crate::pubsub::item::GapCause;
use crate::pubsub::topic::TopicKind;

/// A message: the connection it came over, and its number on that connection.
type Sent = (ConnId, u64);

const LIMITS: Limits = Limits {
    first_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_secs(2),
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
    connections: BTreeMap<ConnId, Connection>,
    leaving: BTreeSet<ConnId>,
    backoffs: VecDeque<Token>,
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
            backoffs: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    fn go(&mut self, goal: Option<u64>) {
        self.changes += 1;
        self.state.set_goal(goal.map(database), self.changes);
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

    fn open(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(&conn).unwrap();
        if !std::mem::replace(&mut connection.open, true) {
            assert!(self.state.opened(conn, self.now));
            self.act();
        }
    }

    /// Answers the oldest request of a connection.
    fn answer(&mut self, conn: ConnId, granted: bool) {
        let asked = self.connections.get_mut(&conn).unwrap().asked.pop_front();
        if let Some((topic, token)) = asked {
            let answer = granted.then_some(()).ok_or_else(|| Arc::from("NOPERM"));
            self.state.answered(conn, &topic, token, answer, self.now);
            self.act();
        }
    }

    fn answer_all(&mut self, conn: ConnId) {
        while self
            .connections
            .get(&conn)
            .is_some_and(|conn| !conn.asked.is_empty())
        {
            self.answer(conn, true);
        }
    }

    fn send(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(&conn).unwrap();
        if connection.open {
            let message = (conn, connection.sent);
            connection.sent += 1;
            self.state.received(conn, message, self.now);
            self.act();
        }
    }

    fn leave(&mut self, conn: ConnId) {
        if self.leaving.remove(&conn) {
            self.state.left(conn, self.now);
            self.act();
        }
    }

    fn lose(&mut self, conn: ConnId) {
        self.state.lost(conn, self.now, 0.5);
        self.act();
    }

    fn end_backoff(&mut self) {
        if let Some(token) = self.backoffs.pop_front() {
            self.state.backoff_over(token);
            self.act();
        }
    }

    /// Carries out the actions, and checks the invariants.
    fn act(&mut self) {
        while let Some(act) = self.state.take() {
            match act {
                Action::Open { conn, .. } => {
                    assert!(self.connections.len() < 2, "a third connection");
                    self.connections.insert(conn, Connection::default());
                }
                Action::Subscribe { conn, topic, token } => {
                    let connection = self.connections.get_mut(&conn).unwrap();
                    assert!(connection.open);
                    connection.asked.push_back((topic, token));
                }
                Action::Unsubscribe { conn, .. } => assert!(self.connections[&conn].open),
                Action::Leave { conn, .. } => {
                    assert!(self.connections.contains_key(&conn));
                    self.leaving.insert(conn);
                }
                Action::Close { conn } => {
                    assert!(self.connections.remove(&conn).is_some(), "closed twice");
                    self.leaving.remove(&conn);
                }
                Action::Backoff { token, .. } => self.backoffs.push_back(token),
                Action::Deliver(message) => self.seen.push(Seen::Message(message)),
                Action::Interrupted(_) => self.seen.push(Seen::Interrupted),
                Action::Gap(gap) => self
                    .seen
                    .push(Seen::Gap(gap.cause, gap.silence, gap.dropped)),
                Action::Settled(topic) => self.seen.push(Seen::Settled(topic)),
                Action::Refused(topic, _) => self.seen.push(Seen::Refused(topic)),
            }
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        let conns: BTreeSet<ConnId> = self
            .state
            .current
            .iter()
            .chain(self.state.next.iter().map(|next| &next.conn))
            .map(|conn| conn.id)
            .collect();
        let open: BTreeSet<ConnId> = self.connections.keys().copied().collect();
        assert_eq!(conns, open, "an unknown connection");
        for (topic, settled) in &self.state.wanted {
            if *settled {
                let current = self
                    .state
                    .current
                    .as_ref()
                    .expect("settled, and no current connection");
                assert!(current.has_confirmed(topic), "settled, and not delivered");
            }
        }
        if let Some(next) = &self.state.next {
            assert!(next.held.len() <= LIMITS.held);
            if next.leaving {
                assert!(next.conn.is_ready() && self.state.current.is_some());
            }
        }
        if self.state.wanted.is_empty() {
            assert!(open.is_empty(), "connected, and nothing is wanted");
        }
    }

    fn current(&self) -> Option<ConnId> {
        self.state.current.as_ref().map(|conn| conn.id)
    }

    fn next(&self) -> Option<ConnId> {
        self.state.next.as_ref().map(|next| next.conn.id)
    }

    /// Listens to database 1 for topic 1.
    fn listening() -> (Self, ConnId) {
        let mut world = Self::new();
        world.go(Some(1));
        world.want(1);
        let conn = world.next().unwrap();
        world.open(conn);
        world.answer(conn, true);
        assert_eq!(world.current(), Some(conn));
        assert_eq!(world.seen, [Seen::Settled(topic(1))]);
        world.seen.clear();
        (world, conn)
    }
}

#[test]
fn no_connection_is_made_before_a_topic_is_wanted() {
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
    assert_eq!(world.current(), Some(new));
}

#[test]
fn messages_of_the_new_one_are_held_until_the_old_one_is_unsubscribed() {
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
fn an_old_one_that_never_finishes_is_not_waited_for_when_the_buffer_is_full() {
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
fn a_lost_connection_is_announced_at_once_and_again_when_it_is_replaced() {
    let (mut world, old) = World::listening();
    world.now += Duration::from_secs(10);
    world.send(old);
    world.lose(old);
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
    state.set_goal(Some(database(1)), 1);
    let mut pauses = Vec::new();
    while pauses.len() < 8 {
        match state.take().unwrap() {
            Action::Open { conn, .. } => state.lost(conn, now, 0.0),
            Action::Backoff { after, token } => {
                pauses.push(after.as_millis());
                state.backoff_over(token);
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
    world.lose(world.next().unwrap());
    assert_eq!(world.next(), None, "it backoffs");
    world.go(Some(2));
    assert!(world.next().is_some());
}

#[test]
fn a_lost_old_connection_is_not_unsubscribed() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.lose(old);
    world.now += Duration::from_millis(30);
    world.open(new);
    world.answer(new, true);
    assert!(world.leaving.is_empty());
    assert_eq!(world.seen[0], Seen::Interrupted);
    let silence = Duration::from_millis(30);
    assert_eq!(world.seen[1], Seen::Gap(GapCause::Moved, silence, 0));
}

#[test]
fn a_move_away_and_back_that_was_not_seen_is_still_a_gap() {
    let (mut world, conn) = World::listening();
    world.changes += 1;
    world.go(Some(1));
    assert_eq!(world.seen, [Seen::Gap(GapCause::Moved, Duration::ZERO, 0)]);
    assert_eq!(
        world.current(),
        Some(conn),
        "the connection is as good as before"
    );
}

#[test]
fn a_pause_without_an_active_database_is_no_gap() {
    let (mut world, conn) = World::listening();
    world.go(None);
    world.go(Some(1));
    world.send(conn);
    assert_eq!(world.seen, [Seen::Message((conn, 0))]);
    world.go(None);
    world.changes += 1;
    world.go(Some(1));
    let gap = Seen::Gap(GapCause::Moved, Duration::ZERO, 0);
    assert_eq!(world.seen[1..], [gap], "another may have been active");
}

#[test]
fn without_an_active_database_the_last_one_is_still_delivered() {
    let (mut world, conn) = World::listening();
    world.go(None);
    world.send(conn);
    assert_eq!(world.seen, [Seen::Message((conn, 0))]);
    world.lose(conn);
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
fn a_request_during_a_move_is_granted_when_both_have_confirmed_it() {
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
fn a_request_does_not_wait_for_a_new_connection_that_was_lost() {
    let (mut world, old) = World::listening();
    world.go(Some(2));
    let new = world.next().unwrap();
    world.open(new);
    world.want(2);
    world.answer(old, true);
    world.lose(new);
    assert_eq!(world.seen, [Seen::Settled(topic(2))]);
}

#[test]
fn a_move_does_not_wait_for_a_request_that_was_given_up() {
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
fn a_late_answer_to_an_earlier_request_is_ignored() {
    let (mut world, conn) = World::listening();
    world.want(2);
    world.unwant(2);
    world.want(2);
    world.answer(conn, true);
    assert_eq!(
        world.seen,
        [],
        "that confirmed the subscription that was ended since"
    );
    world.answer(conn, true);
    assert_eq!(world.seen, [Seen::Settled(topic(2))]);
}

#[test]
fn a_request_waits_while_no_connection_delivers() {
    let (mut world, conn) = World::listening();
    world.lose(conn);
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
    Lose(bool),
    Backoff,
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
        1 => any::<bool>().prop_map(Step::Lose),
        2 => Just(Step::Backoff),
        1 => (0_u64..3000).prop_map(Step::Wait),
    ]
}

impl World {
    /// One of the two connections there may be.
    fn either(&self, last: bool) -> Option<ConnId> {
        let mut conns = self.connections.keys().copied();
        if last {
            conns.next_back()
        } else {
            conns.next()
        }
    }

    fn take_step(&mut self, step: &Step) {
        let on = |world: &mut Self, last: bool, what: &dyn Fn(&mut Self, ConnId)| {
            if let Some(conn) = world.either(last) {
                what(world, conn);
            }
        };
        match *step {
            Step::Go(goal) => self.go(goal),
            Step::Miss => self.changes += 1,
            Step::Want(number) => self.want(number),
            Step::Unwant(number) => self.unwant(number),
            Step::Open(last) => on(self, last, &Self::open),
            Step::Answer(last, granted) => {
                on(self, last, &|world, conn| world.answer(conn, granted));
            }
            Step::Send(last) => on(self, last, &Self::send),
            Step::Leave => {
                if let Some(conn) = self.leaving.first().copied() {
                    self.leave(conn);
                }
            }
            Step::Lose(last) => on(self, last, &Self::lose),
            Step::Backoff => self.end_backoff(),
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
        }
    }

    /// From here on everything works.
    fn settle(&mut self) {
        self.go(Some(1));
        for _ in 0..100 {
            self.end_backoff();
            for conn in self.connections.keys().copied().collect::<Vec<_>>() {
                if self.connections.contains_key(&conn) {
                    self.open(conn);
                }
                self.answer_all(conn);
                self.leave(conn);
            }
        }
    }
}

/// A stream is whole: all of one connection, a gap, all of the next.
fn check_order(seen: &[Seen]) -> Result<(), TestCaseError> {
    let mut last: Option<Sent> = None;
    let mut left = BTreeSet::new();
    let (mut gap, mut interrupted, mut dropped) = (false, false, 0);
    for item in seen {
        match item {
            Seen::Message((conn, number)) => {
                prop_assert!(
                    !interrupted,
                    "a message between an interruption and its gap"
                );
                prop_assert!(!left.contains(conn), "the old one after the new one");
                let expected = match last {
                    Some((before, last)) if before == *conn => last + 1,
                    Some((before, _)) => {
                        prop_assert!(gap, "a new connection without a gap");
                        left.insert(before);
                        0
                    }
                    // What came before anything was settled was guaranteed to no reader.
                    None => *number,
                };
                prop_assert!(
                    *number >= expected && *number - expected <= dropped,
                    "{} missing, {} announced",
                    number - expected,
                    dropped
                );
                dropped -= number - expected;
                (last, gap) = (Some((*conn, *number)), false);
            }
            Seen::Gap(_, _, lost) => (gap, interrupted, dropped) = (true, false, dropped + lost),
            Seen::Interrupted => {
                prop_assert!(!interrupted, "interrupted twice");
                interrupted = true;
            }
            Seen::Settled(_) => prop_assert!(!interrupted, "settled without a current connection"),
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
        let current = world.state.current.as_ref().expect("a current connection in the end");
        prop_assert_eq!(current.activation.database.id, DatabaseId(1));
        prop_assert!(world.state.next.is_none());
        prop_assert!(world.state.wanted.values().all(|settled| *settled));
    }

    /// Topics are wanted and unwanted, and may be refused.
    #[test]
    fn no_connection_is_leaked_and_no_settled_topic_is_lost(
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
