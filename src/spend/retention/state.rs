//! When something old may go, and how old it has to be. Pure: time is an argument.
//!
//! A clock that is wrong by years must not take the years. So three clocks are compared: the router's, the
//! database's, and the one that cannot be set, which counts the time since the start. Only where the first two
//! have agreed with one another and gone as the third does for an hour, it is believed that it is so late;
//! and of the two the earlier counts. What is steadily wrong is not found out so: therefore a round is narrow
//! ([`horizon`]).

use std::time::Duration;

use tokio::time::Instant;

use super::Keeping;
use crate::domain::Period;

/// In seconds.
const DAY: i64 = 86_400;
/// In a round nothing goes that is more than this later than the oldest, in days.
pub(super) const SPAN: i32 = 7;
/// Two clocks that are apart by more disagree. What is kept is kept for days.
const APART: Duration = Duration::from_secs(30 * 60);
/// A clock that is set by less has not jumped.
const SET: Duration = Duration::from_secs(60);

/// The clocks that can be set, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) router_ms: i64,
    pub(super) database_ms: i64,
}

/// Why they are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// One of them is wrong.
    Disagree { by: Duration },
    /// Both were set, or the machine was asleep.
    Jumped { by: Duration },
}

/// What may go: what is earlier than these, in Unix seconds at a midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) minutes: Option<i64>,
    pub(super) days: Option<i64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    keeping: Keeping,
    last: Option<(Clocks, Instant)>,
    /// Since when nothing was wrong with them.
    steady: Option<Instant>,
    held: Option<Held>,
    begun: Option<Instant>,
    is_running: bool,
}

impl State {
    pub(super) fn new(keeping: Keeping) -> Self {
        Self {
            keeping,
            last: None,
            steady: None,
            held: None,
            begun: None,
            is_running: false,
        }
    }

    /// What the clocks say; the answer is why they are not believed, until they have been steady.
    pub(super) fn looked(&mut self, clocks: Clocks, now: Instant) -> Option<Held> {
        let by = apart(clocks.router_ms, clocks.database_ms);
        if by > APART {
            (self.steady, self.held) = (None, Some(Held::Disagree { by }));
        } else if let Some(by) = self.jumped(clocks, now) {
            (self.steady, self.held) = (Some(now), Some(Held::Jumped { by }));
        } else {
            self.steady.get_or_insert(now);
        }
        self.last = Some((clocks, now));
        if self.is_steady(now) {
            self.held = None;
        }
        self.held
    }

    /// A round, if it is time for one.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Round> {
        let (clocks, _) = self.last?;
        let is_early = |begun: Instant| now < begun + self.keeping.steady;
        if self.is_running || !self.is_steady(now) || self.begun.is_some_and(is_early) {
            return None;
        }
        (self.begun, self.is_running) = (Some(now), true);
        let unix = clocks.router_ms.min(clocks.database_ms) / 1_000;
        let before = |kept: Option<Duration>| {
            let kept = i64::try_from(kept?.as_secs()).ok()?;
            Some(midnight(unix.saturating_sub(kept)))
        };
        Some(Round {
            minutes: before(self.keeping.minutes),
            days: before(self.keeping.days),
        })
    }

    /// The round is over.
    pub(super) fn over(&mut self) {
        self.is_running = false;
    }

    fn is_steady(&self, now: Instant) -> bool {
        self.steady
            .is_some_and(|since| now >= since + self.keeping.steady)
    }

    /// By how much a clock went otherwise than time did.
    fn jumped(&self, clocks: Clocks, now: Instant) -> Option<Duration> {
        let (last, at) = self.last?;
        let passed = i64::try_from(now.duration_since(at).as_millis()).ok()?;
        let went = [
            (last.router_ms, clocks.router_ms),
            (last.database_ms, clocks.database_ms),
        ];
        let by = went.map(|(was, is)| apart(was.saturating_add(passed), is));
        let by = by.into_iter().max().unwrap_or_default();
        (by > SET).then_some(by)
    }
}

/// The latest that may go in a round in which `oldest` is the oldest: `before`, or not all of it.
pub(super) fn horizon(oldest: i64, before: i64) -> i64 {
    let end = midnight(oldest).saturating_add(i64::from(SPAN) * DAY);
    end.min(before)
}

/// Before this began the budget periods whose end is earlier than `before`.
pub(super) fn periods_before(before: i64) -> i64 {
    before.saturating_sub(Period::LONGEST)
}

/// The day of a moment: its first second, and the first of the next.
pub(super) fn day(at: i64) -> (i64, i64) {
    let midnight = midnight(at);
    (midnight, midnight.saturating_add(DAY))
}

fn midnight(at: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(DAY))
}

fn apart(one_ms: i64, other_ms: i64) -> Duration {
    Duration::from_millis(one_ms.abs_diff(other_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const LOOK: Duration = Duration::from_secs(10 * 60);
    /// 2026-11-30, noon.
    const NOON: i64 = 1_796_040_000;
    const YEAR_MS: i64 = 366 * DAY * 1_000;

    fn state() -> State {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        State::new(Keeping::new(days(90), days(1_000)))
    }

    /// Time passes, and the clocks are wrong by so many milliseconds.
    struct Test {
        state: State,
        start: Instant,
        passed: Duration,
        router_off: i64,
        database_off: i64,
    }

    impl Test {
        fn new() -> Self {
            Self {
                state: state(),
                start: Instant::now(),
                passed: Duration::ZERO,
                router_off: 0,
                database_off: 0,
            }
        }

        /// Looks every ten minutes for so long; whether a round began, and what holds them.
        fn pass(&mut self, time: Duration) -> (Option<Round>, Option<Held>) {
            let (mut round, mut held) = (None, None);
            let end = self.passed + time;
            while self.passed < end {
                self.passed += LOOK;
                let ms = NOON * 1_000 + i64::try_from(self.passed.as_millis()).unwrap();
                let clocks = Clocks {
                    router_ms: ms + self.router_off,
                    database_ms: ms + self.database_off,
                };
                let now = self.start + self.passed;
                held = self.state.looked(clocks, now);
                let begun = self.state.begin(now);
                if begun.is_some() {
                    self.state.over();
                }
                round = round.or(begun);
            }
            (round, held)
        }
    }

    #[test]
    fn after_an_hour_of_steady_clocks_there_is_a_round_and_then_one_an_hour() {
        let mut test = Test::new();
        assert_eq!(test.pass(HOUR), (None, None));
        let expected = Round {
            minutes: Some(midnight(NOON) - 90 * DAY),
            days: Some(midnight(NOON) - 1_000 * DAY),
        };
        assert_eq!(test.pass(LOOK), (Some(expected), None));
        assert_eq!(test.pass(5 * LOOK), (None, None));
        assert_eq!(test.pass(LOOK), (Some(expected), None));
    }

    #[test]
    fn a_round_that_takes_long_is_the_only_one() {
        let mut test = Test::new();
        test.pass(HOUR);
        test.state.is_running = true;
        assert_eq!(test.pass(5 * HOUR), (None, None));
        test.state.over();
        assert!(test.pass(LOOK).0.is_some());
    }

    #[test]
    fn clocks_that_disagree_are_not_believed_until_they_have_agreed_for_an_hour() {
        for off in [YEAR_MS, -YEAR_MS, 31 * 60 * 1_000] {
            let mut test = Test::new();
            test.pass(2 * HOUR);
            test.database_off = off;
            let (round, held) = test.pass(24 * HOUR);
            let by = Duration::from_millis(off.unsigned_abs());
            assert_eq!((round, held), (None, Some(Held::Disagree { by })));
            test.database_off = 0;
            let (round, held) = test.pass(HOUR);
            assert_eq!(round, None);
            assert!(matches!(held, Some(Held::Jumped { .. })), "{held:?}");
            assert!(test.pass(LOOK).0.is_some());
        }
        let mut test = Test::new();
        test.database_off = 10 * 60 * 1_000;
        assert!(test.pass(2 * HOUR).0.is_some(), "ten minutes are nothing");
    }

    #[test]
    fn a_jump_of_both_clocks_is_waited_out_and_one_that_is_taken_back_took_nothing() {
        let mut test = Test::new();
        test.pass(2 * HOUR);
        for _ in 0..3 {
            (test.router_off, test.database_off) = (YEAR_MS, YEAR_MS);
            assert_eq!(test.pass(HOUR).0, None);
            (test.router_off, test.database_off) = (0, 0);
            let (round, held) = test.pass(HOUR);
            assert_eq!(round, None);
            let by = Duration::from_millis(YEAR_MS.unsigned_abs());
            assert_eq!(held, Some(Held::Jumped { by }));
        }
        let (round, held) = test.pass(LOOK);
        assert_eq!(round.unwrap().minutes, Some(midnight(NOON) - 90 * DAY));
        assert_eq!(held, None);
    }

    #[test]
    fn of_two_clocks_the_earlier_counts() {
        let mut test = Test::new();
        // Not yet midnight there.
        test.passed = Duration::from_secs(11 * 3_600 + 1_800);
        test.database_off = -20 * 60 * 1_000;
        let (round, _) = test.pass(HOUR + LOOK);
        assert_eq!(
            round.unwrap().minutes,
            Some(midnight(NOON) + DAY - 90 * DAY)
        );
        let mut test = Test::new();
        test.passed = Duration::from_secs(11 * 3_600);
        test.router_off = -20 * 60 * 1_000;
        let (round, _) = test.pass(HOUR + LOOK);
        assert_eq!(round.unwrap().minutes, Some(midnight(NOON) - 90 * DAY));
    }

    #[test]
    fn a_round_ends_a_week_after_the_oldest() {
        assert_eq!(horizon(NOON, NOON + 100 * DAY), midnight(NOON) + 7 * DAY);
        assert_eq!(horizon(NOON, midnight(NOON) + DAY), midnight(NOON) + DAY);
    }

    #[test]
    fn what_is_kept_for_ever_never_goes() {
        let mut test = Test::new();
        test.state = State::new(Keeping::new(None, None));
        assert_eq!(test.pass(2 * HOUR).0, Some(Round::default()));
    }
}
