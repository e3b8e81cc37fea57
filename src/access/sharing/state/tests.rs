//! Several routers, one ledger, and a network between them that loses calls and replies.

use proptest::prelude::*;

use super::*;
use crate::access::meter::{Base, Owner, What};
use crate::access::rule::Verdict;
use crate::domain::{AccountKind, Period};

const TERMS: Terms = Terms {
    hold_ms: 60_000,
    min_age_ms: 0,
    forget_ms: 600_000,
};
/// Any moment will do.
const EPOCH_MS: i64 = 1_700_000_000_000;

struct Router {
    me: Arc<str>,
    state: State<usize>,
    cell: Arc<Cell>,
    running: Vec<Taken>,
    refused: usize,
    asked: usize,
    out: Option<Arc<Call>>,
}

struct Fleet {
    terms: Terms,
    ledger: Ledger,
    routers: Vec<Router>,
    now_ms: i64,
    /// What requests used in all.
    used: i64,
    /// What they used beyond what they had reserved.
    beyond: i64,
}

#[derive(Clone, Copy, Debug)]
enum Delivery {
    Delivered,
    CallLost,
    ReplyLost,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize, i64),
    Finish(usize, i64),
    Exchange(usize, Delivery),
    Wait(i64),
}

fn cell(what: What, limit: i64) -> Arc<Cell> {
    let owner = Owner {
        kind: AccountKind::Key,
        id: "k".into(),
        model: None,
    };
    let cell = Cell::new(owner, what, limit);
    cell.set_base(Base {
        window: 0,
        amount: 0,
        at_ms: 0,
    });
    Arc::new(cell)
}

fn money() -> What {
    What::Money {
        created: 0,
        period: Period::Never,
    }
}

impl Router {
    /// As a request does that has taken or given back.
    fn notify(&mut self) {
        if self.cell.should_notify() {
            self.state.touch(Arc::clone(&self.cell));
        }
    }
}

impl Fleet {
    fn new(routers: usize, what: What, limit: i64, policy: WhenRedisAway) -> Self {
        Self::under(TERMS, routers, what, limit, policy)
    }

    fn under(terms: Terms, routers: usize, what: What, limit: i64, policy: WhenRedisAway) -> Self {
        let router = |at: usize| {
            let me: Arc<str> = format!("router-{at}").into();
            Router {
                state: State::new(terms, Arc::clone(&me), policy, true),
                me,
                cell: cell(what, limit),
                running: Vec::new(),
                refused: 0,
                asked: 0,
                out: None,
            }
        };
        Self {
            terms,
            ledger: Ledger::default(),
            routers: (0..routers).map(router).collect(),
            now_ms: 0,
            used: 0,
            beyond: 0,
        }
    }

    fn now(&self) -> Moment {
        Moment {
            local_ms: self.now_ms,
            unix_ms: EPOCH_MS + self.now_ms,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Start(at, amount) => {
                let (now, now_ms) = (self.now(), self.now_ms);
                let router = &mut self.routers[at];
                match router.cell.take(amount, now_ms) {
                    Some(taken) => {
                        router.running.push(taken);
                        router.notify();
                    }
                    None if router.cell.is_short(amount, now_ms) => router.refused += 1,
                    None => {
                        router.asked += 1;
                        let wants = vec![(Arc::clone(&router.cell), amount)];
                        router.state.ask(now, wants, router.asked);
                    }
                }
            }
            Step::Finish(at, change) => {
                let now_ms = self.now_ms;
                if let Some(taken) = self.routers[at].running.pop() {
                    let reserved = taken.reserved();
                    let used = match taken.cell().what() {
                        What::Parallel => 0,
                        _ => (reserved + change).max(0),
                    };
                    self.used += used;
                    self.beyond += (used - reserved).max(0);
                    taken.settle(used, now_ms);
                    self.routers[at].notify();
                }
            }
            Step::Exchange(at, delivery) => self.exchange(at, delivery),
            Step::Wait(ms) => self.now_ms += ms,
        }
        for at in 0..self.routers.len() {
            self.pump(at);
        }
    }

    fn pump(&mut self, at: usize) {
        let now = self.now();
        let router = &mut self.routers[at];
        if let Next::Send(call) = router.state.next(now, now.unix_ms) {
            assert!(router.out.replace(call).is_none(), "one call at a time");
        }
        for (_, answer) in router.state.answers() {
            match answer {
                Ok(taken) => router.running.extend(taken),
                Err(_) => router.refused += 1,
            }
        }
    }

    fn exchange(&mut self, at: usize, delivery: Delivery) {
        let now = self.now();
        let router = &mut self.routers[at];
        let Some(call) = router.out.take() else {
            return;
        };
        if matches!(delivery, Delivery::CallLost) {
            router.state.failed(now);
            return;
        }
        let reply = self
            .ledger
            .settle(&self.terms, &router.me, now.unix_ms, &call);
        match delivery {
            Delivery::Delivered => router.state.replied(now, &reply),
            _ => drop(router.state.failed(now)),
        }
    }

    /// Delivers until there is nothing to report.
    fn deliver_all(&mut self) {
        for _ in 0..64 {
            for at in 0..self.routers.len() {
                self.pump(at);
                self.exchange(at, Delivery::Delivered);
                self.pump(at);
            }
            self.now_ms += 1_000;
        }
    }

    /// So much time passes, and everything is delivered soon.
    fn pass(&mut self, ms: i64) {
        for _ in 0..ms / 50 {
            self.now_ms += 50;
            for at in 0..self.routers.len() {
                self.pump(at);
                self.exchange(at, Delivery::Delivered);
                self.pump(at);
            }
        }
    }

    /// Everyone who waits is answered, all requests end, and everything is reported.
    fn finish_all(&mut self, change: i64) {
        self.deliver_all();
        for at in 0..self.routers.len() {
            while !self.routers[at].running.is_empty() {
                self.step(Step::Finish(at, change));
            }
        }
        self.deliver_all();
    }

    fn in_flight(&self) -> i64 {
        let running = self.routers.iter().flat_map(|router| &router.running);
        running.map(Taken::reserved).sum()
    }

    /// What one router would be given of the meter if it asked for this much now.
    fn would_give(&mut self, amount: i64) -> Verdict {
        let cell = &self.routers[0].cell;
        let call = Call {
            reports: vec![crate::access::rule::MeterReport {
                key: Arc::clone(cell.key()),
                limit: cell.limit(),
                window: cell.window(self.now().unix()),
                base: (0, -1),
                of: -1,
                spent: 0,
                held: 0,
                prefetch: 0,
            }],
            needs: vec![vec![(0, amount)]],
            ..Call::default()
        };
        let now_ms = self.now().unix_ms;
        let reply = self
            .ledger
            .settle(&self.terms, &"observer".into(), now_ms, &call);
        reply.verdicts[0]
    }
}

fn step() -> impl Strategy<Value = Step> {
    let router = 0..3_usize;
    let delivery = prop_oneof![
        6 => Just(Delivery::Delivered),
        1 => Just(Delivery::CallLost),
        1 => Just(Delivery::ReplyLost),
    ];
    prop_oneof![
        4 => (router.clone(), 1..20_i64).prop_map(|(at, amount)| Step::Start(at, amount)),
        3 => (router.clone(), -20..12_i64).prop_map(|(at, change)| Step::Finish(at, change)),
        5 => (router, delivery).prop_map(|(at, delivery)| Step::Exchange(at, delivery)),
        1 => (0..400_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The bound: what is spent and what is reserved never exceed the limit by more than requests
    /// used beyond their reservation, whatever the network loses, as long as routers refuse
    /// what they cannot ask about.
    #[test]
    fn a_budget_is_exceeded_by_what_was_not_reserved_and_by_nothing_else(
        steps in prop::collection::vec(step(), 0..160), limit in 0..200_i64,
    ) {
        let mut fleet = Fleet::new(3, money(), limit, WhenRedisAway::Refuse);
        for step in steps {
            fleet.step(step);
            let taken = fleet.used + fleet.in_flight();
            prop_assert!(taken <= limit + fleet.beyond, "{taken} of {limit} + {}", fleet.beyond);
        }
    }

    /// And nothing leaks: when all requests are over, exactly what was used is gone.
    #[test]
    fn what_was_not_used_is_there_again(
        steps in prop::collection::vec(step(), 0..120), limit in 50..200_i64,
    ) {
        let mut fleet = Fleet::new(3, money(), limit, WhenRedisAway::Refuse);
        for step in steps {
            fleet.step(step);
        }
        fleet.finish_all(-20);
        let rest = limit - fleet.used;
        prop_assert_eq!(fleet.would_give(rest + 1), Verdict::Short(0));
        if rest > 0 {
            prop_assert_eq!(fleet.would_give(rest), Verdict::Given, "rest {}", rest);
        }
    }

    /// The same of requests at once, which come back whole.
    #[test]
    fn places_are_never_given_twice_and_all_come_back(
        steps in prop::collection::vec(step(), 0..160), limit in 1..40_i64,
    ) {
        let mut fleet = Fleet::new(3, What::Parallel, limit, WhenRedisAway::Refuse);
        for step in steps {
            fleet.step(step);
            prop_assert!(fleet.in_flight() <= limit);
        }
        fleet.finish_all(0);
        prop_assert_eq!(fleet.would_give(limit), Verdict::Given);
        for router in &fleet.routers {
            prop_assert!(router.state.schedule.is_empty(), "{:?}", router.state.schedule);
        }
    }

    /// With the ledger away from its first answer on, each router has its part and not more.
    #[test]
    fn without_the_ledger_each_router_has_its_part(
        steps in prop::collection::vec(step(), 0..120), limit in 3..200_i64,
    ) {
        let mut fleet = Fleet::new(3, money(), limit, WhenRedisAway::LocalShare);
        for router in &mut fleet.routers {
            (router.state.routers, router.state.ever_answered) = (3, true);
        }
        let part = (limit + 2) / 3;
        for step in steps {
            let step = match step {
                Step::Exchange(at, _) => Step::Exchange(at, Delivery::CallLost),
                step => step,
            };
            fleet.step(step);
            prop_assert!(fleet.used + fleet.in_flight() <= 3 * part + fleet.beyond);
        }
    }
}

#[test]
fn far_from_a_limit_a_router_asks_seldom() {
    let mut fleet = Fleet::new(3, money(), 1_000_000, WhenRedisAway::Refuse);
    let mut exchanges = 0;
    for turn in 0..30_000 {
        let at = turn % 3;
        fleet.step(Step::Start(at, 10));
        fleet.step(Step::Finish(at, 0));
        if turn % 300 == 0 {
            fleet.step(Step::Wait(1));
        }
        for router in 0..3 {
            exchanges += usize::from(fleet.routers[router].out.is_some());
            fleet.step(Step::Exchange(router, Delivery::Delivered));
        }
    }
    let asked: usize = fleet.routers.iter().map(|router| router.asked).sum();
    assert!(
        asked < 60,
        "{asked} of 30,000 requests had to wait for the ledger"
    );
    assert!(exchanges < 300, "{exchanges} calls for 30,000 requests");
    assert_eq!(fleet.used + fleet.in_flight(), 300_000);
}

#[test]
fn a_wiped_ledger_is_complete_again_after_every_router_has_reported() {
    let mut fleet = Fleet::new(3, money(), 1_000, WhenRedisAway::Refuse);
    fleet.pass(100);
    for at in 0..3 {
        fleet.step(Step::Start(at, 20));
        fleet.step(Step::Exchange(at, Delivery::Delivered));
    }
    fleet.step(Step::Finish(0, 0));
    assert_eq!(fleet.in_flight(), 40);
    fleet.ledger = Ledger::default();
    fleet.terms.min_age_ms = 2_000;
    // It is new, so it gives nothing, and every router learns at once that it has forgotten.
    fleet.step(Step::Wait(30_000));
    for _ in 0..4 {
        for at in 0..3 {
            fleet.step(Step::Exchange(at, Delivery::Delivered));
        }
        fleet.step(Step::Wait(300));
    }
    assert_eq!(fleet.would_give(1), Verdict::TooNew);
    fleet.step(Step::Wait(2_000));
    fleet.deliver_all();
    assert_eq!(fleet.would_give(941), Verdict::Short(0));
    assert_eq!(fleet.would_give(940), Verdict::Given);
}

/// As routers have them.
const REAL: Terms = crate::access::sharing::TERMS;

/// Two routers that know each other, with a ledger old enough; one holds all four places and is
/// idle.
fn an_idle_holder() -> Fleet {
    let mut fleet = Fleet::under(REAL, 2, What::Parallel, 4, WhenRedisAway::Refuse);
    fleet.pass(6_000);
    for _ in 0..4 {
        fleet.step(Step::Start(0, 1));
        fleet.pass(50);
    }
    assert_eq!(fleet.in_flight(), 4);
    fleet.pass(30_000);
    fleet
}

/// For a minute the second router wants places and gets none; when the first gives one back, it does.
fn the_places_are_taken(fleet: &mut Fleet) {
    for _ in 0..60 * 4 {
        fleet.step(Step::Start(1, 1));
        fleet.pass(250);
        assert_eq!(fleet.in_flight(), 4);
    }
    fleet.step(Step::Finish(0, 0));
    fleet.pass(20_000);
    fleet.step(Step::Start(1, 1));
    fleet.pass(1_000);
    assert_eq!(fleet.routers[1].running.len(), 1);
    assert_eq!(fleet.in_flight(), 4);
}

#[test]
fn what_an_idle_router_holds_is_not_given_away_by_a_wiped_ledger() {
    let mut fleet = an_idle_holder();
    fleet.ledger = Ledger::default();
    the_places_are_taken(&mut fleet);
}

#[test]
fn a_ledger_that_was_left_for_a_while_gives_nothing_before_it_knows_all_again() {
    for away_ms in [3_000, 8_000, 60_000] {
        let mut fleet = Fleet::under(REAL, 2, What::Parallel, 4, WhenRedisAway::Refuse);
        fleet.pass(6_000);
        fleet.step(Step::Start(0, 1));
        fleet.pass(5_000);
        let first = mem::take(&mut fleet.ledger);
        // With another ledger meanwhile, as soon as that gives anything.
        fleet.pass(away_ms);
        while fleet.in_flight() < 4 && away_ms > REAL.min_age_ms {
            fleet.step(Step::Start(0, 1));
            fleet.pass(50);
        }
        // Back again, and it is the other router that waiting first.
        fleet.ledger = first;
        let held = fleet.in_flight();
        for _ in 0..100 {
            for _ in 0..4 {
                fleet.step(Step::Start(1, 1));
            }
            fleet.exchange(1, Delivery::Delivered);
            fleet.pass(50);
            assert!(fleet.in_flight() <= 4, "{away_ms}: {held} before");
        }
    }
}

#[test]
fn a_router_with_much_to_report_is_waited_for() {
    let mut fleet = Fleet::under(REAL, 2, What::Parallel, 4, WhenRedisAway::Refuse);
    fleet.pass(6_000);
    let now = fleet.now();
    let router = &mut fleet.routers[0];
    let owner = |n: usize| Owner {
        kind: AccountKind::Key,
        id: format!("k{n}").into(),
        model: None,
    };
    let cells: Vec<_> = (0..1_000)
        .map(|n| Arc::new(Cell::new(owner(n), What::Parallel, 1)))
        .collect();
    for cell in &cells {
        router.state.ask(now, vec![(Arc::clone(cell), 1)], 0);
    }
    fleet.pass(1_000);
    assert_eq!(fleet.routers[0].running.len(), 1_000);
    // A thousand meters are eight calls. The network is so slow that one takes a second.
    fleet.ledger = Ledger::default();
    let cell = Arc::new(Cell::new(owner(999), What::Parallel, 1));
    let mut calls = 0;
    for _ in 0..12 {
        fleet.now_ms += 1_000;
        for at in 0..2 {
            fleet.pump(at);
            calls += usize::from(at == 0 && fleet.routers[0].out.is_some());
            fleet.exchange(at, Delivery::Delivered);
        }
        let now = fleet.now();
        let other = &mut fleet.routers[1];
        other.state.ask(now, vec![(Arc::clone(&cell), 1)], 0);
        fleet.pump(1);
        assert!(fleet.routers[1].running.is_empty(), "given twice");
    }
    assert!(calls >= 8, "{calls}");
}

#[test]
fn what_the_database_has_is_counted_once() {
    let mut fleet = Fleet::new(1, money(), 100, WhenRedisAway::Refuse);
    fleet.step(Step::Start(0, 30));
    fleet.step(Step::Exchange(0, Delivery::Delivered));
    fleet.step(Step::Finish(0, 0));
    fleet.step(Step::Wait(1_000));
    fleet.step(Step::Exchange(0, Delivery::Delivered));
    fleet.step(Step::Wait(30_000));
    fleet.step(Step::Exchange(0, Delivery::Delivered));
    // Much later the database has it; the router knows since when.
    fleet.step(Step::Wait(30_000));
    let now = fleet.now();
    let router = &mut fleet.routers[0];
    router.state.applied(now.unix_ms - 10, now.unix() - 1);
    router.cell.set_base(Base {
        window: 0,
        amount: 30,
        at_ms: now.unix_ms,
    });
    fleet.deliver_all();
    assert_eq!(fleet.would_give(71), Verdict::Short(0));
    assert_eq!(fleet.would_give(70), Verdict::Given);
}

#[test]
fn a_budget_of_which_nobody_knows_what_is_spent_gives_nothing() {
    let mut fleet = Fleet::new(1, money(), 100, WhenRedisAway::Refuse);
    fleet.routers[0].cell.set_base(Base {
        window: 0,
        amount: 0,
        at_ms: -1,
    });
    fleet.step(Step::Start(0, 1));
    fleet.step(Step::Exchange(0, Delivery::Delivered));
    fleet.step(Step::Wait(0));
    assert_eq!((fleet.in_flight(), fleet.routers[0].refused), (0, 1));
}

#[test]
fn alone_a_router_decides_by_itself_and_keeps_nothing_unused() {
    let mut state: State<()> = State::new(TERMS, "me".into(), WhenRedisAway::Refuse, false);
    let cell = cell(What::Requests, 3);
    let at = |ms: i64| Moment {
        local_ms: ms,
        unix_ms: EPOCH_MS + ms,
    };
    let mut taken = Vec::new();
    for _ in 0..5 {
        if let Some(more) = cell.take(1, 0) {
            taken.push(more);
            continue;
        }
        state.ask(at(0), vec![(Arc::clone(&cell), 1)], ());
        assert!(matches!(state.next(at(0), EPOCH_MS), Next::Nothing));
        for ((), answer) in state.answers() {
            taken.extend(answer.into_iter().flatten());
        }
    }
    assert_eq!(taken.len(), 3, "three a minute");
    for taken in taken {
        taken.settle(1, 0);
    }
    // In the next minute there are three again, and after two idle ones nothing is kept.
    let later = 61_000;
    assert!(cell.take(1, later).is_none());
    state.ask(at(later), vec![(Arc::clone(&cell), 3)], ());
    state.next(at(later), EPOCH_MS + later);
    let again: Vec<_> = state
        .answers()
        .into_iter()
        .flat_map(|(_, a)| a)
        .flatten()
        .collect();
    assert_eq!(again.len(), 1);
    drop(again);
    for ms in [150_000, 180_000, 210_000, 300_000] {
        state.next(at(ms), EPOCH_MS + ms);
    }
    assert!(state.schedule.is_empty() && state.own.is_empty());
}

#[test]
fn a_router_without_an_answer_of_the_ledger_gives_nothing_and_then_its_part() {
    let mut fleet = Fleet::under(REAL, 2, What::Parallel, 4, WhenRedisAway::LocalShare);
    let start_all = |fleet: &mut Fleet| {
        for at in [0, 1] {
            for _ in 0..4 {
                fleet.step(Step::Start(at, 1));
                fleet.pump(at);
                fleet.exchange(at, Delivery::CallLost);
                fleet.pump(at);
            }
            fleet.now_ms += REAL.min_age_ms;
        }
    };
    start_all(&mut fleet);
    assert_eq!(fleet.in_flight(), 0, "each of them would have given four");
    assert!(fleet.routers.iter().all(|router| router.refused > 0));
    // Nor by a ledger that was just created, which others may not have reached, and which goes away again.
    fleet.pass(1_000);
    start_all(&mut fleet);
    assert_eq!(fleet.in_flight(), 0);
    // After one answer it decides alone about its half.
    fleet.pass(12_000);
    start_all(&mut fleet);
    assert_eq!(fleet.in_flight(), 4);
}

#[test]
fn what_a_new_ledger_will_decide_is_waited_for_in_the_order_it_was_asked() {
    for policy in [WhenRedisAway::Refuse, WhenRedisAway::LocalShare] {
        // More than one call decides, and of the last some.
        let limit = MOST_NEEDS + 2;
        let most = i64::try_from(limit).unwrap();
        let mut fleet = Fleet::under(REAL, 1, What::Requests, most, policy);
        let mut asked = 0;
        let (mut given, mut refused) = (Vec::new(), Vec::new());
        while fleet.now_ms < REAL.min_age_ms + 1_000 {
            fleet.now_ms += 50;
            let now = fleet.now();
            let router = &mut fleet.routers[0];
            if let Next::Send(call) = router.state.next(now, now.unix_ms) {
                router.out = Some(call);
            }
            // While a call is out, and while none is.
            let more = asked..(asked + 10).min(limit + 10);
            asked = more.end;
            for n in more {
                let wants = vec![(Arc::clone(&router.cell), 1)];
                router.state.ask(now, wants, n);
            }
            fleet.exchange(0, Delivery::Delivered);
            for (n, answer) in fleet.routers[0].state.answers() {
                match answer {
                    Ok(taken) => given.push((n, taken)),
                    Err(why) => refused.push((n, matches!(why, Short::Of(_)))),
                }
            }
            let old_enough = fleet.now_ms >= REAL.min_age_ms;
            assert!(old_enough || (given.is_empty() && refused.is_empty()));
        }
        let mut first: Vec<_> = given.iter().map(|(n, _)| *n).collect();
        first.sort_unstable();
        assert_eq!(first, Vec::from_iter(0..limit));
        refused.sort_unstable();
        let last = (limit..limit + 10).map(|n| (n, true));
        assert_eq!(refused, Vec::from_iter(last), "by the ledger itself");
    }
}

#[test]
fn what_a_router_holds_stays_its_own_while_others_wait_for_a_new_ledger() {
    let mut fleet = Fleet::under(REAL, 1, What::Parallel, 4, WhenRedisAway::Refuse);
    fleet.pass(6_000);
    for _ in 0..4 {
        fleet.step(Step::Start(0, 1));
        fleet.pass(100);
    }
    assert_eq!(fleet.in_flight(), 4);
    fleet.ledger = Ledger::default();
    fleet.pass(1_500);
    fleet.step(Step::Start(0, 1));
    fleet.pass(500);
    assert!(fleet.routers[0].state.waits());
    // Whoever comes when one of them ends has its place, as if nobody waited.
    fleet.step(Step::Finish(0, 0));
    fleet.pass(500);
    fleet.step(Step::Start(0, 1));
    assert_eq!((fleet.in_flight(), fleet.routers[0].refused), (4, 0));
}

#[test]
fn who_has_left_is_not_given_what_somebody_else_waits_for() {
    let mut fleet = Fleet::under(REAL, 1, What::Parallel, 1, WhenRedisAway::LocalShare);
    fleet.pass(1_000);
    fleet.step(Step::Start(0, 1));
    fleet.step(Step::Start(0, 1));
    fleet.pass(1_000);
    let state = &mut fleet.routers[0].state;
    state.forget_waiting(|n| *n == 1);
    fleet.pass(REAL.min_age_ms);
    assert_eq!((fleet.in_flight(), fleet.routers[0].refused), (1, 0));
}

#[test]
fn a_ledger_that_stays_new_is_not_waited_for_for_ever() {
    let mut fleet = Fleet::under(REAL, 1, What::Requests, 3, WhenRedisAway::LocalShare);
    fleet.pass(1_000);
    fleet.step(Step::Start(0, 1));
    // It is emptied again and again, and each time as new as before.
    let bound_ms = REAL.min_age_ms + NEW_LEDGER_MARGIN_MS;
    let mut waited_ms = 0;
    while fleet.routers[0].refused == 0 {
        fleet.ledger = Ledger::default();
        fleet.pass(50);
        waited_ms += 50;
        assert!(waited_ms <= bound_ms, "{waited_ms}");
    }
    assert_eq!(waited_ms, bound_ms);
    assert_eq!(fleet.in_flight(), 0);
}

#[test]
fn a_new_ledger_that_goes_away_is_not_waited_for() {
    let mut fleet = Fleet::under(REAL, 1, What::Requests, 3, WhenRedisAway::LocalShare);
    fleet.pass(1_000);
    fleet.step(Step::Start(0, 1));
    let mut missed = 0;
    while fleet.routers[0].refused == 0 {
        fleet.step(Step::Wait(RETRY_MS));
        fleet.step(Step::Exchange(0, Delivery::CallLost));
        missed += 1;
    }
    assert_eq!(missed, 2, "the first may have been an accident");
}
