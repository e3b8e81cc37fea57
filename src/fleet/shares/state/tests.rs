//! Several routers and one ledger: whatever is lost, repeated or restarted, and in whatever order.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::cluster::slots::{Ledger, TERMS};

const EVEN: u32 = u32::MAX;

/// One router's side of a pool, as `Cell` and `SlotPool` have it.
#[derive(Debug)]
struct Side {
    slots: i64,
    running: AtomicI64,
    share: AtomicU32,
    watched: AtomicBool,
    short: AtomicBool,
}

impl Pool for Arc<Side> {
    fn running(&self) -> i64 {
        self.running.load(Ordering::Relaxed)
    }
    fn slots(&self) -> i64 {
        self.slots
    }
    fn takes_short(&self) -> bool {
        self.short.swap(false, Ordering::Relaxed)
    }
    fn set_asked(&self, _: Asked) {}
    fn set_share(&self, share: Option<u32>) {
        self.share.store(share.unwrap_or(EVEN), Ordering::Relaxed);
    }
    fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }
}

struct Router {
    name: Arc<str>,
    state: State<Arc<Side>>,
    divides: u32,
    sides: Vec<Arc<Side>>,
    waiting: Vec<i64>,
}

struct World {
    ledger: Ledger,
    routers: Vec<Router>,
    start: Instant,
    ms: i64,
    runs: i64,
    /// Calls that arrive once more, later.
    late: Vec<(Arc<str>, Call)>,
}

fn key(pool: usize) -> Arc<str> {
    format!("pool{pool}").into()
}

impl Router {
    fn limit(&self, pool: usize) -> i64 {
        let side = &self.sides[pool];
        match side.share.load(Ordering::Relaxed) {
            EVEN => side.slots.checked_div(i64::from(self.divides)).unwrap_or(0),
            share => i64::from(share).min(side.slots),
        }
    }

    /// As a request does, and the queue behind it.
    fn serve(&mut self, pool: usize, now: Instant) {
        while self.waiting[pool] > 0 {
            let side = Arc::clone(&self.sides[pool]);
            if side.running() >= self.limit(pool) {
                if side.running() < side.slots {
                    side.short.store(true, Ordering::Relaxed);
                    self.state.touch(&key(pool), &side, now);
                }
                return;
            }
            side.running.fetch_add(1, Ordering::Relaxed);
            self.waiting[pool] -= 1;
        }
    }

    fn finish(&mut self, pool: usize, now: Instant) {
        let side = Arc::clone(&self.sides[pool]);
        if side.running() > 0 {
            side.running.fetch_sub(1, Ordering::Relaxed);
            if side.watched.load(Ordering::Relaxed) {
                self.state.touch(&key(pool), &side, now);
            }
            self.serve(pool, now);
        }
    }

    fn begin(&mut self, run: i64, now: Instant) {
        self.state = State::new(run, now);
        self.divides = 0;
        for (pool, side) in self.sides.iter().enumerate() {
            side.set_share(None);
            side.set_watched(false);
            self.state.adopt(&key(pool), side, now);
        }
    }

    fn replied(&mut self, number: i64, reply: &Reply, now: Instant) {
        let sides = self.sides.clone();
        let find = |key: &str| {
            let number: usize = key.strip_prefix("pool")?.parse().ok()?;
            sides.get(number).cloned()
        };
        let learnt = self.state.replied(number, reply, now, find);
        if let Some(divides) = learnt.divides {
            self.divides = divides;
            for (pool, side) in self.sides.iter().enumerate() {
                self.state.adopt(&key(pool), side, now);
            }
        }
        if learnt.grown {
            for pool in 0..self.sides.len() {
                self.serve(pool, now);
            }
        }
    }
}

impl World {
    fn new(routers: usize, slots: &[i64]) -> Self {
        let mut world = Self {
            ledger: Ledger::default(),
            routers: Vec::new(),
            start: Instant::now(),
            ms: 1_000_000,
            runs: 0,
            late: Vec::new(),
        };
        for _ in 0..routers {
            world.join(slots);
        }
        world
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(u64::try_from(self.ms).unwrap())
    }

    fn join(&mut self, slots: &[i64]) {
        self.runs += 1;
        let side = |slots: &i64| {
            Arc::new(Side {
                slots: *slots,
                running: AtomicI64::new(0),
                share: AtomicU32::new(EVEN),
                watched: AtomicBool::new(false),
                short: AtomicBool::new(false),
            })
        };
        self.routers.push(Router {
            name: format!("router{}", self.runs).into(),
            state: State::new(self.runs, self.now()),
            divides: 0,
            sides: slots.iter().map(side).collect(),
            waiting: vec![0; slots.len()],
        });
    }

    fn others(&self, at: usize) -> Vec<Arc<str>> {
        let others = self.routers.iter().enumerate();
        let others = others.filter(|(other, _)| *other != at);
        others.map(|(_, router)| Arc::clone(&router.name)).collect()
    }

    /// A call of this router, if it makes one. Says who is to call next.
    fn call(&mut self, at: usize, fate: Fate) -> Vec<usize> {
        let (now, others) = (self.now(), self.others(at));
        let router = &mut self.routers[at];
        let waiting = router.waiting.clone();
        let sides = router.sides.clone();
        let want = |side: &Arc<Side>| {
            let pool = sides.iter().position(|other| Arc::ptr_eq(other, side));
            Want {
                running: side.running(),
                waiting: pool.map_or(0, |pool| usize::try_from(waiting[pool]).unwrap()),
                warm: 1,
            }
        };
        router.state.look(now, want);
        let Some(call) = router.state.next(now, || Some(others), want) else {
            return Vec::new();
        };
        let number = call.number;
        let name = Arc::clone(&router.name);
        if fate == Fate::Lost {
            router.state.failed(number, now);
            return Vec::new();
        }
        let answer = self.ledger.settle(&TERMS, &name, self.ms, &call);
        if fate == Fate::Repeated {
            self.late.push((name, call));
        }
        let router = &mut self.routers[at];
        let Some(answer) = answer else {
            router.state.failed(number, now);
            return Vec::new();
        };
        match fate {
            Fate::Unanswered => router.state.failed(number, now),
            _ => router.replied(number, &answer.reply, now),
        }
        let routers = self.routers.iter().enumerate();
        let woken = routers.filter(|(_, router)| answer.wake.contains(&router.name));
        // It may have more to say by now.
        woken.map(|(at, _)| at).chain([at]).collect()
    }

    /// Everybody calls until nobody has anything to say.
    fn settle(&mut self, for_ms: i64) {
        let until = self.ms + for_ms;
        while self.ms < until {
            let mut todo: Vec<usize> = (0..self.routers.len()).collect();
            let mut calls = 0;
            while let Some(at) = todo.pop() {
                calls += 1;
                assert!(calls < 2_000, "routers never stop calling");
                for woken in self.call(at, Fate::Answered) {
                    let now = self.now();
                    if woken != at {
                        self.routers[woken].state.wake(now);
                    }
                    todo.push(woken);
                }
            }
            self.check();
            self.ms += 250;
        }
    }

    fn running(&self, pool: usize) -> i64 {
        let sides = self.routers.iter().map(|router| &router.sides[pool]);
        sides.map(Pool::running).sum()
    }

    fn check(&self) {
        for (pool, side) in self.routers[0].sides.iter().enumerate() {
            let running = self.running(pool);
            assert!(
                running <= side.slots,
                "{running} of {} in pool {pool}",
                side.slots
            );
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Unanswered,
    Lost,
    /// Arrives twice.
    Repeated,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive(usize, usize, i64),
    Finish(usize, usize),
    Call(usize, Fate),
    Late,
    Pass(i64),
    Join,
    Restart(usize),
    Die(usize),
    Leave(usize),
    Wipe,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Repeated),
    ];
    let router = 0..4_usize;
    let pool = 0..3_usize;
    prop_oneof![
        12 => (router.clone(), pool.clone(), 1..4_i64).prop_map(|(r, p, n)| Step::Arrive(r, p, n)),
        12 => (router.clone(), pool).prop_map(|(r, p)| Step::Finish(r, p)),
        16 => (router.clone(), fate).prop_map(|(r, f)| Step::Call(r, f)),
        2 => Just(Step::Late),
        4 => (1..600_i64).prop_map(Step::Pass),
        1 => Just(Step::Join),
        1 => router.clone().prop_map(Step::Restart),
        1 => router.clone().prop_map(Step::Die),
        1 => router.prop_map(Step::Leave),
        1 => Just(Step::Wipe),
    ]
}

const SLOTS: [i64; 3] = [1, 2, 5];

impl World {
    fn take(&mut self, step: Step) {
        let now = self.now();
        let count = self.routers.len();
        match step {
            Step::Arrive(router, pool, number) => {
                let router = &mut self.routers[router % count];
                router.waiting[pool] += number;
                router.serve(pool, now);
            }
            Step::Finish(router, pool) => self.routers[router % count].finish(pool, now),
            Step::Call(router, fate) => {
                for woken in self.call(router % count, fate) {
                    if woken != router % count {
                        self.routers[woken].state.wake(now);
                    }
                }
            }
            Step::Late => {
                if let Some((name, call)) = self.late.pop() {
                    drop(self.ledger.settle(&TERMS, &name, self.ms, &call));
                }
            }
            Step::Pass(ms) => {
                self.ms += ms;
                for at in 0..count {
                    self.call(at, Fate::Answered);
                }
            }
            Step::Join if count < 5 => self.join(&SLOTS),
            Step::Restart(router) => {
                self.runs += 1;
                let run = self.runs;
                self.routers[router % count].begin(run, now);
            }
            Step::Die(router) if count > 1 => drop(self.routers.remove(router % count)),
            Step::Leave(router) if count > 1 => {
                let mut router = self.routers.remove(router % count);
                let call = router.state.leave();
                drop(self.ledger.settle(&TERMS, &router.name, self.ms, &call));
            }
            Step::Wipe => {
                self.ledger = Ledger::default();
                self.ms += 1;
            }
            Step::Join | Step::Die(_) | Step::Leave(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_more_run_than_there_are_slots(routers in 1..4_usize, steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new(routers, &SLOTS);
        for step in steps {
            world.take(step);
            world.check();
        }
        // And whatever has happened, all slots are used when they are wanted, and everybody has its turn.
        world.late.clear();
        world.settle(12_000);
        for router in &mut world.routers {
            router.waiting = vec![1_000; SLOTS.len()];
        }
        let now = world.now();
        for router in &mut world.routers {
            for pool in 0..SLOTS.len() {
                router.serve(pool, now);
            }
        }
        world.settle(6_000);
        for (pool, slots) in SLOTS.iter().enumerate() {
            prop_assert_eq!(world.running(pool), *slots);
        }
    }
}

/// Slots of one pool that each router has had, in slot-milliseconds, while each has so many requests.
fn shared_out(slots: i64, wanted: &[i64], request_ms: i64, for_ms: i64) -> Vec<i64> {
    let mut world = World::new(wanted.len(), &[slots]);
    world.settle(7_000);
    let mut had = vec![0; wanted.len()];
    let mut ends: Vec<Vec<i64>> = vec![Vec::new(); wanted.len()];
    let until = world.ms + for_ms;
    while world.ms < until {
        let now = world.now();
        for (at, router) in world.routers.iter_mut().enumerate() {
            let over = ends[at].iter().filter(|end| **end <= world.ms).count();
            ends[at].retain(|end| *end > world.ms);
            for _ in 0..over {
                router.finish(0, now);
            }
            router.waiting[0] = wanted[at] - router.sides[0].running();
            router.serve(0, now);
        }
        let mut todo: Vec<usize> = (0..wanted.len()).collect();
        while let Some(at) = todo.pop() {
            for woken in world.call(at, Fate::Answered) {
                if woken != at {
                    world.routers[woken].state.wake(now);
                }
                todo.push(woken);
            }
        }
        world.check();
        for (at, router) in world.routers.iter().enumerate() {
            let running = router.sides[0].running();
            while i64::try_from(ends[at].len()).unwrap() < running {
                ends[at].push(world.ms + request_ms);
            }
            had[at] += running * 10;
        }
        world.ms += 10;
    }
    had
}

#[test]
fn of_one_slot_each_of_three_routers_has_a_third() {
    let had = shared_out(1, &[50, 50, 50], 300, 60_000);
    let all: i64 = had.iter().sum();
    assert!(all >= 57_000, "{had:?}");
    assert!(
        had.iter().all(|had| (17_000..=23_000).contains(had)),
        "{had:?}"
    );
}

#[test]
fn a_router_with_more_requests_has_more_of_the_slots() {
    let had = shared_out(8, &[60, 20], 200, 30_000);
    let all: i64 = had.iter().sum();
    assert!(all >= 235_000, "{had:?}");
    let part = had[0] * 100 / all;
    assert!((70..=80).contains(&part), "{had:?}");
}

#[test]
fn a_router_alone_has_everything_and_says_nothing_of_it() {
    let mut world = World::new(1, &[4]);
    world.settle(1_000);
    let now = world.now();
    world.routers[0].waiting[0] = 4;
    world.routers[0].serve(0, now);
    assert_eq!(world.running(0), 4);
    world.settle(3_000);
    assert_eq!(world.ledger.pools(), 0);
}

#[test]
fn within_the_even_share_no_call_is_made() {
    let mut world = World::new(2, &[4]);
    world.settle(7_000);
    let now = world.now();
    for router in &mut world.routers {
        router.waiting[0] = 2;
        router.serve(0, now);
        assert_eq!(router.sides[0].running(), 2);
    }
    assert_eq!(world.ledger.pools(), 0);
}

#[test]
fn a_router_that_needs_more_gets_what_the_others_leave_idle_and_they_get_it_back() {
    let mut world = World::new(2, &[4]);
    world.settle(7_000);
    let now = world.now();
    world.routers[0].waiting[0] = 4;
    world.routers[0].serve(0, now);
    world.settle(250);
    assert_eq!(world.routers[0].sides[0].running(), 4);
    let now = world.now();
    for _ in 0..4 {
        world.routers[0].finish(0, now);
    }
    world.settle(20_000);
    assert_eq!(world.ledger.pools(), 0, "even again, and forgotten");
    assert_eq!(world.routers[1].limit(0), 2);
}

#[test]
fn what_a_dead_router_had_is_free_when_its_registration_is_over() {
    let mut world = World::new(2, &[4]);
    world.settle(7_000);
    world.routers.pop();
    world.settle(11_000);
    assert_eq!(world.routers[0].limit(0), 4);
}

#[test]
fn what_a_router_had_that_leaves_is_free_at_once() {
    let mut world = World::new(2, &[4]);
    world.settle(7_000);
    let mut gone = world.routers.pop().unwrap();
    let call = gone.state.leave();
    let answer = world
        .ledger
        .settle(&TERMS, &gone.name, world.ms, &call)
        .unwrap();
    assert!(answer.wake.contains(&world.routers[0].name));
    let now = world.now();
    world.routers[0].state.wake(now);
    world.settle(250);
    assert_eq!(world.routers[0].limit(0), 4);
}

#[test]
fn a_router_that_was_forgotten_begins_again_with_what_runs() {
    let mut world = World::new(2, &[4]);
    world.settle(7_000);
    let now = world.now();
    world.routers[0].waiting[0] = 4;
    world.routers[0].serve(0, now);
    world.settle(250);
    assert_eq!(world.routers[0].sides[0].running(), 4);
    // It stands still, and so does its registration; two of its requests end meanwhile.
    let stopped = world.routers.remove(0);
    world.settle(14_000);
    assert_eq!(world.routers[0].limit(0), 4);
    stopped.sides[0].running.store(2, Ordering::Relaxed);
    world.routers.push(stopped);
    world.settle(14_000);
    let limits: Vec<i64> = world.routers.iter().map(|router| router.limit(0)).collect();
    assert_eq!(limits, [2, 2]);
}

#[test]
fn a_router_without_a_ledger_has_its_part_of_what_was_wanted_before() {
    let mut world = World::new(1, &[4]);
    let now = world.now();
    let router = &mut world.routers[0];
    router.waiting[0] = 4;
    router.serve(0, now);
    assert_eq!(
        router.limit(0),
        0,
        "it has been asked for, and nobody answers"
    );
    let later = now + Duration::from_secs(4);
    assert_eq!(router.state.go_on_without_ledger(1, later), Some(2));
    router.divides = 2;
    assert_eq!(router.limit(0), 2);
    router.serve(0, later);
    assert_eq!(router.sides[0].running(), 2);
    // There are more of them than was known: what runs goes on.
    assert_eq!(router.state.go_on_without_ledger(3, later), Some(4));
    router.divides = 4;
    let side = Arc::clone(&router.sides[0]);
    router.state.adopt(&key(0), &side, later);
    assert_eq!(router.limit(0), 2);
}

#[test]
fn what_is_to_be_given_back_no_request_takes_again() {
    let mut world = World::new(2, &[1]);
    world.settle(7_000);
    for at in [0, 1] {
        let now = world.now();
        world.routers[at].waiting[0] = 9;
        world.routers[at].serve(0, now);
    }
    world.settle(3_000);
    let holder = world
        .routers
        .iter()
        .position(|router| router.sides[0].running() == 1);
    let holder = holder.unwrap();
    // Its next request tries before anybody has heard of the free slot.
    assert_eq!(
        world.routers[holder].limit(0),
        0,
        "it has had it for long enough"
    );
}

#[test]
fn a_router_is_isolated_when_neither_the_ledger_nor_the_database_knows_it() {
    let mut world = World::new(2, &[4]);
    world.settle(7_000);
    let state = &world.routers[0].state;
    let soon = world.now() + Duration::from_secs(7);
    let late = world.now() + Duration::from_secs(9);
    assert!(!state.is_isolated(soon, false));
    assert!(!state.is_isolated(late, true));
    assert!(state.is_isolated(late, false));
}
