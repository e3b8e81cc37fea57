//! How a server fails calls that take no slot: what a model is, and that it is to leave the memory.
//!
//! Nothing is computed for them, so what they meet says nothing about a model; but a server that lets one of
//! them hang would do so to the next one too. Others are preferred for a second, doubling up to a minute
//! while it goes on; then one call tries it, and the others go on preferring others until that has worked.
//!
//! A cell of atomics, written by whoever has called: of two that write at once either is right.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Beside the milliseconds, the lowest bits count the failures.
const FAILURES: u32 = 8;
/// No more failures are counted: the pause is as long as it gets.
const MOST: u64 = 16;

/// The failures of one server.
#[derive(Debug)]
pub(super) struct Unanswered {
    since: Instant,
    /// Until when others are preferred, in milliseconds since then, and how often it has failed; zero when it has
    /// not, or has worked since.
    record: AtomicU64,
}

impl Unanswered {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            record: AtomicU64::new(0),
        }
    }

    /// A call has failed. Calls that were out already when another one failed say nothing new.
    pub(super) fn failed(&self, now: Instant) {
        self.extend(now, 0);
    }

    /// A call has been answered.
    pub(super) fn worked(&self) {
        if self.record.load(Ordering::Relaxed) != 0 {
            self.record.store(0, Ordering::Relaxed);
        }
    }

    /// Whether others are preferred now.
    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        let record = self.record.load(Ordering::Relaxed);
        record != 0 && self.millis(now) < record >> FAILURES
    }

    /// A call goes there: if it is the one that tries it, the others wait for what comes of that.
    pub(super) fn tried(&self, now: Instant) {
        self.extend(now, 1);
    }

    /// Another pause, twice as long, once the last one is over; only after so many failures.
    fn extend(&self, now: Instant, least: u64) {
        let millis = self.millis(now);
        let longer = |record: u64| {
            let failures = record & ((1 << FAILURES) - 1);
            let is_over = millis >= record >> FAILURES;
            (is_over && failures >= least).then(|| {
                let pause = FIRST.saturating_mul(1 << failures).min(LONGEST);
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                (millis.saturating_add(pause) << FAILURES) | (failures + 1).min(MOST)
            })
        };
        let (order, read) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.record.fetch_update(order, read, longer);
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.since).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn others_are_preferred_for_twice_as_long_after_each_failure_and_no_longer_than_a_minute() {
        let mut now = Instant::now();
        let server = Unanswered::new(now);
        assert!(!server.is_avoided(now));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            server.failed(now);
            // At once, or of calls that were out: nothing new.
            server.failed(now);
            assert!(server.is_avoided(now + SECOND * seconds - SECOND / 2));
            now += SECOND * seconds;
            assert!(!server.is_avoided(now), "after {seconds} s");
        }
        server.worked();
        server.failed(now);
        assert!(!server.is_avoided(now + SECOND), "it begins anew");
    }

    #[test]
    fn one_call_tries_it_when_the_pause_is_over() {
        let now = Instant::now();
        let server = Unanswered::new(now);
        server.tried(now);
        assert!(!server.is_avoided(now), "nothing is known against it");
        server.failed(now);
        let later = now + SECOND;
        assert!(!server.is_avoided(later));
        server.tried(later);
        assert!(server.is_avoided(later), "one is enough");
        server.worked();
        assert!(!server.is_avoided(later));
    }
}
