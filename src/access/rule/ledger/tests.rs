//! The rule, case by case, with time as an argument.

use super::*;

const TERMS: Terms = Terms {
    hold_ms: 1_000,
    min_age_ms: 0,
    forget_ms: 5_000,
};

struct Fleet {
    ledger: Ledger,
    limit: i64,
    window: Window,
    of: i64,
}

impl Fleet {
    fn new(limit: i64, window: Window) -> Self {
        Self {
            ledger: Ledger::default(),
            limit,
            window,
            of: 0,
        }
    }

    /// `router` has spent and holds so much, needs so much, prefetches so much.
    fn call(&mut self, router: &str, at: i64, has: (i64, i64), need: i64, prefetch: i64) -> Reply {
        self.call_with_base(router, at, has, need, prefetch, (0, -1))
    }

    fn call_with_base(
        &mut self,
        router: &str,
        at: i64,
        has: (i64, i64),
        need: i64,
        prefetch: i64,
        base: (i64, i64),
    ) -> Reply {
        let call = Call {
            reports: vec![MeterReport {
                key: "m".into(),
                limit: self.limit,
                window: self.window,
                base,
                of: self.of,
                spent: has.0,
                held: has.1,
                prefetch,
            }],
            needs: vec![vec![(0, need)]],
            ..Call::default()
        };
        self.ledger.settle(&TERMS, &router.into(), at, &call)
    }
}

#[test]
fn what_one_router_holds_no_other_gets() {
    let mut fleet = Fleet::new(10, Window::Always);
    assert_eq!(fleet.call("a", 0, (0, 0), 7, 0).verdicts, [Verdict::Given]);
    assert_eq!(
        fleet.call("b", 1, (0, 0), 4, 0).verdicts,
        [Verdict::Short(0)]
    );
    assert_eq!(fleet.call("b", 1, (0, 0), 3, 0).verdicts, [Verdict::Given]);
    fleet.call("a", 2, (0, 2), 0, 0);
    assert_eq!(fleet.call("b", 3, (0, 3), 5, 0).verdicts, [Verdict::Given]);
}

#[test]
fn a_lost_reply_is_corrected_by_the_next_report() {
    let mut fleet = Fleet::new(10, Window::Always);
    fleet.call("a", 0, (0, 0), 10, 0);
    // It never heard of it, and reports what it knows.
    assert_eq!(fleet.call("a", 1, (0, 0), 10, 0).verdicts, [Verdict::Given]);
}

#[test]
fn a_stopped_router_holds_nothing_but_what_it_spent_stays_spent() {
    let mut fleet = Fleet::new(10, Window::Since(0));
    fleet.call("a", 0, (2, 6), 0, 0);
    assert_eq!(
        fleet.call("b", 1_000, (0, 0), 3, 0).verdicts,
        [Verdict::Short(0)]
    );
    assert_eq!(
        fleet.call("b", 1_001, (0, 0), 8, 0).verdicts,
        [Verdict::Given]
    );
    // A base asked for long after it stopped has whatever it will ever have.
    let free = |reply: Reply| reply.parts[0].free;
    assert_eq!(
        free(fleet.call_with_base("b", 2_000, (8, 0), 0, 0, (1, 1_500))),
        -1
    );
    assert_eq!(
        free(fleet.call_with_base("b", 9_000, (0, 0), 0, 0, (9, 8_000))),
        1
    );
}

#[test]
fn an_older_base_never_replaces_a_newer_one() {
    let mut fleet = Fleet::new(10, Window::Since(0));
    fleet.call_with_base("a", 100, (0, 0), 0, 0, (6, 90));
    let reply = fleet.call_with_base("b", 110, (0, 0), 5, 0, (2, 50));
    assert_eq!(reply.verdicts, [Verdict::Short(0)]);
    assert_eq!(reply.parts[0].base, (6, 90));
}

#[test]
fn a_minute_that_has_passed_begins_again_from_nothing() {
    let mut fleet = Fleet::new(5, Window::Each(60_000));
    fleet.call("a", 59_000, (5, 0), 0, 0);
    assert_eq!(
        fleet.call("b", 59_999, (0, 0), 1, 0).verdicts,
        [Verdict::Short(0)]
    );
    let reply = fleet.call("b", 60_000, (0, 0), 5, 0);
    assert_eq!(
        (reply.verdicts[0], reply.parts[0].window),
        (Verdict::Given, 60_000)
    );
}

#[test]
fn a_clock_that_is_ahead_does_not_begin_a_period_for_everyone() {
    let mut fleet = Fleet::new(5, Window::Since(100));
    fleet.of = 100;
    fleet.call("a", 100_000, (5, 0), 0, 0);
    fleet.window = Window::Since(200);
    let ahead = fleet.call("b", 199_999, (0, 0), 1, 0);
    assert_eq!(
        (ahead.verdicts[0], ahead.parts[0].window),
        (Verdict::Short(0), 100)
    );
    assert_eq!(
        fleet.call("b", 200_000, (0, 0), 1, 0).verdicts,
        [Verdict::Given]
    );
    // And one that is behind finds the new one.
    fleet.window = Window::Since(100);
    let behind = fleet.call("a", 200_001, (5, 0), 4, 0);
    assert_eq!(
        (behind.verdicts[0], behind.parts[0].window),
        (Verdict::Given, 200)
    );
}

#[test]
fn a_prefetch_gets_half_an_even_share_and_never_what_is_not_there() {
    let mut fleet = Fleet::new(100, Window::Always);
    assert_eq!(fleet.call("a", 0, (0, 0), 0, 1_000).parts[0].extra, 100);
    fleet.call("a", 1, (0, 20), 0, 0);
    assert_eq!(fleet.call("b", 2, (0, 0), 0, 1_000).parts[0].extra, 20);
    fleet.limit = 10;
    assert_eq!(fleet.call("b", 3, (0, 0), 0, 1_000).parts[0].extra, 0);
}

#[test]
fn a_new_ledger_takes_reports_and_gives_nothing() {
    let terms = Terms {
        min_age_ms: 100,
        ..TERMS
    };
    let mut ledger = Ledger::default();
    let call = Call {
        reports: vec![MeterReport {
            key: "m".into(),
            limit: 10,
            window: Window::Always,
            base: (0, -1),
            of: 0,
            spent: 0,
            held: 9,
            prefetch: 5,
        }],
        needs: vec![vec![(0, 1)]],
        ..Call::default()
    };
    let reply = ledger.settle(&terms, &"a".into(), 0, &call);
    assert_eq!(
        (reply.verdicts[0], reply.parts[0].extra),
        (Verdict::TooNew, 0)
    );
    let reply = ledger.settle(&terms, &"a".into(), 100, &call);
    assert_eq!(reply.verdicts, [Verdict::Given]);
}

/// When the ledger was created by its own answer, and whether it is new, after a report of nothing.
fn creation(ledger: &mut Ledger, terms: &Terms, me: &str, at: i64, call: Call) -> (i64, bool) {
    let reply = ledger.settle(terms, &me.into(), at, &call);
    (reply.created_ms, reply.is_new)
}

#[test]
fn a_ledger_is_new_again_when_it_may_have_missed_something() {
    let terms = Terms {
        min_age_ms: 400,
        ..TERMS
    };
    let mut ledger = Ledger::default();
    let mut say = |me: &str, at: i64, known: Option<i64>, more: bool| {
        let call = Call {
            known_created_ms: known,
            more,
            ..Call::default()
        };
        creation(&mut ledger, &terms, me, at, call)
    };
    assert_eq!(say("a", 0, None, false), (0, true));
    assert_eq!(say("a", 400, Some(0), false), (0, false));
    // Somebody is still telling what the ledger forgot, but not for ever.
    assert_eq!(say("b", 500, None, true), (0, true));
    assert_eq!(say("a", 999, Some(0), false), (0, true));
    assert_eq!(say("a", 1_000, Some(0), false), (0, false));
    // Nobody has reported here for as long as anybody is remembered.
    assert_eq!(say("a", 2_001, Some(0), false), (2_001, true));
    // Whoever comes from a ledger created later has reported to another one meanwhile.
    assert_eq!(say("a", 2_900, Some(2_500), false), (2_900, true));
    assert_eq!(say("b", 2_950, Some(2_500), false), (2_900, true));
    assert_eq!(say("b", 3_300, Some(2_900), false), (2_900, false));
    // And a clock that was set back begins again.
    assert_eq!(say("a", 1_000, Some(2_900), false), (1_000, true));
}

#[test]
fn a_window_that_lies_ahead_is_left_when_the_clock_is_set_back() {
    let mut fleet = Fleet::new(5, Window::Each(60_000));
    fleet.of = 120_000;
    fleet.call("a", 120_000, (5, 0), 0, 0);
    let reply = fleet.call("a", 59_000, (5, 0), 5, 0);
    assert_eq!(
        (reply.verdicts[0], reply.parts[0].window),
        (Verdict::Given, 0)
    );
    let mut fleet = Fleet::new(5, Window::Since(200));
    fleet.of = 200;
    fleet.call_with_base("a", 200_000, (1, 0), 0, 0, (4, 199_000));
    fleet.window = Window::Since(100);
    let reply = fleet.call_with_base("a", 150_000, (0, 0), 0, 0, (2, 149_000));
    assert_eq!(
        (reply.parts[0].window, reply.parts[0].free),
        (100, 3),
        "the period before, with its own base"
    );
}

#[test]
fn a_router_that_has_nothing_or_has_stopped_with_nothing_spent_is_not_kept() {
    let mut fleet = Fleet::new(10, Window::Always);
    fleet.call("a", 0, (0, 4), 0, 0);
    fleet.call("b", 0, (0, 3), 0, 0);
    let known = |fleet: &Fleet| fleet.ledger.meters["m"].entries.len();
    assert_eq!(known(&fleet), 2);
    fleet.call("b", 1, (0, 0), 0, 0);
    assert_eq!(known(&fleet), 1);
    fleet.call("b", 1_001, (0, 0), 0, 0);
    assert_eq!(known(&fleet), 0);
}

#[test]
fn a_need_over_several_meters_is_met_whole_or_not_at_all() {
    let report = |key: &str, limit| MeterReport {
        key: key.into(),
        limit,
        window: Window::Always,
        base: (0, -1),
        of: 0,
        spent: 0,
        held: 0,
        prefetch: 0,
    };
    let call = Call {
        reports: vec![report("x", 10), report("y", 1)],
        needs: vec![vec![(0, 4), (1, 2)], vec![(0, 10)], vec![(0, 1), (1, 1)]],
        ..Call::default()
    };
    let reply = Ledger::default().settle(&TERMS, &"a".into(), 0, &call);
    let expected = [Verdict::Short(1), Verdict::Given, Verdict::Short(0)];
    assert_eq!(reply.verdicts, expected);
}
