//! When the registrations are read: one reading at a time, however much is written. Pure.
//!
//! A reading is asked for when something was written that others are to see at once. One that began before that
//! may not show it, so another follows; whatever was written until that begins is seen by it. What only renews a
//! registration asks for none: the next reading sees it. So the cost is bounded by time, not by how many register.

use std::time::Duration;

use tokio::time::Instant;

/// How often the registrations are read, if nothing is written.
const REGULAR: Duration = Duration::from_secs(1);
/// And how often if something is.
const SPACING: Duration = Duration::from_millis(200);

/// The readings of one incarnation.
#[derive(Debug)]
pub(super) struct Readings {
    /// The last that began, and when.
    number: u64,
    began: Instant,
    /// Before that none begins.
    soonest: Instant,
    /// It has not ended.
    is_under_way: bool,
    /// It began too early for what was written since.
    is_early: bool,
}

impl Readings {
    /// None has begun.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            number: 0,
            began: now,
            soonest: now,
            is_under_way: false,
            is_early: false,
        }
    }

    /// Something was written. Returns after which pause the next begins; none while one is under way, whose end
    /// says so.
    pub(super) fn wanted(&mut self, now: Instant) -> Option<Duration> {
        if self.is_under_way {
            self.is_early = true;
            return None;
        }
        Some(self.soonest.saturating_duration_since(now))
    }

    /// The next begins. Returns its number; none while one is under way.
    pub(super) fn begin(&mut self, now: Instant) -> Option<u64> {
        if self.is_under_way {
            return None;
        }
        self.number += 1;
        self.began = now;
        self.is_under_way = true;
        self.is_early = false;
        Some(self.number)
    }

    /// This one has ended. Returns when it began, and after which pause comes the next: a database that is slow has
    /// some time without one.
    pub(super) fn ended(&mut self, number: u64, now: Instant) -> Option<(Instant, Duration)> {
        if !self.is_under_way || self.number != number {
            return None;
        }
        self.is_under_way = false;
        let took = now.saturating_duration_since(self.began);
        self.soonest = now + SPACING.saturating_sub(took).max(took.min(REGULAR));
        let soonest = self.soonest.saturating_duration_since(now);
        let pause = match self.is_early {
            true => soonest,
            false => REGULAR.saturating_sub(took).max(soonest),
        };
        Some((self.began, pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many readings of this length there are in ten seconds in which so much is written.
    fn in_ten_seconds(writes_per_second: u32, takes: Duration) -> u32 {
        let start = Instant::now();
        let mut readings = Readings::new(start);
        let (mut due, mut ends, mut number, mut begun) = (Some(start), None, 0, 0);
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            if ends == Some(now) {
                let (_, pause) = readings.ended(number, now).unwrap();
                (due, ends) = (Some(now + pause), None);
            }
            let writes = u64::from(writes_per_second);
            if writes > 0
                && ms % (1_000 / writes).max(1) == 0
                && let Some(pause) = readings.wanted(now)
            {
                due = Some(now + pause);
            }
            if due.is_some_and(|due| due <= now)
                && let Some(next) = readings.begin(now)
            {
                (number, begun) = (next, begun + 1);
                (due, ends) = (None, Some(now + takes));
            }
        }
        begun
    }

    #[test]
    fn a_reading_a_second_and_five_however_much_is_written() {
        let short = Duration::from_millis(20);
        assert_eq!(in_ten_seconds(0, short), 10);
        for writes in [50, 330, 1_000] {
            let begun = in_ten_seconds(writes, short);
            assert!((45..=50).contains(&begun), "{writes}: {begun}");
        }
    }

    #[test]
    fn a_slow_database_is_not_asked_all_the_time() {
        let slow = Duration::from_millis(700);
        assert!(in_ten_seconds(1_000, slow) <= 8);
    }

    #[test]
    fn whoever_wrote_while_one_was_under_way_is_seen_by_the_next_and_all_of_them_by_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut readings = Readings::new(start);
        let number = readings.begin(at(0)).unwrap();
        assert_eq!(readings.begin(at(1)), None, "one at a time");
        for ms in 1..50 {
            assert_eq!(readings.wanted(at(ms)), None);
        }
        assert_eq!(readings.ended(number + 1, at(50)), None, "another's end");
        let (began, pause) = readings.ended(number, at(50)).unwrap();
        assert_eq!((began, pause), (at(0), Duration::from_millis(150)));
        let number = readings.begin(at(200)).unwrap();
        let (_, pause) = readings.ended(number, at(250)).unwrap();
        assert_eq!(pause, Duration::from_millis(950), "it has seen all of them");
        assert_eq!(readings.wanted(at(260)), Some(Duration::from_millis(140)));
        assert_eq!(readings.wanted(at(900)), Some(Duration::ZERO));
    }
}
