//! So many failures, and such a share, in the last so many seconds.
//!
//! The window truly slides: a failure is forgotten exactly when it is older than the window, whether
//! or not anything else happened. Successes are kept in slices of a twentieth of the window, because
//! they arrive as sums; a slice counts until all of it is too old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::FailureDetector;
use crate::outcome::FailureKind;

/// How finely successes are dated.
const SLICES: u32 = 20;

/// redis-py's detector: at least `min_num_failures`, and at least `failure_rate_threshold` times the
/// successes, in the window. The rate is failures to successes, not to all; with a count of 0 only
/// the rate decides, with a rate of 0 only the count.
#[derive(Clone, Debug)]
pub struct CommandFailureDetector {
    min_num_failures: u32,
    failure_rate_threshold: f64,
    window: Duration,
    kinds: Option<Arc<[FailureKind]>>,
    failures: VecDeque<Instant>,
    successes: VecDeque<(Instant, u64)>,
    sum: u64,
}

impl CommandFailureDetector {
    /// See [`MultiDbConfig`](crate::MultiDbConfig) for the three.
    pub fn new(min_num_failures: u32, failure_rate_threshold: f64, window: Duration) -> Self {
        Self {
            min_num_failures,
            failure_rate_threshold,
            window,
            kinds: None,
            failures: VecDeque::new(),
            successes: VecDeque::new(),
            sum: 0,
        }
    }

    /// Counts only these (redis-py's `error_types`). Default: every kind.
    #[must_use]
    pub fn error_types(mut self, kinds: impl IntoIterator<Item = FailureKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    fn forget(&mut self, now: Instant) {
        let old = |at: Instant| now.saturating_duration_since(at) > self.window;
        while self.failures.front().is_some_and(|at| old(*at)) {
            self.failures.pop_front();
        }
        while let Some((at, count)) = self.successes.front().copied()
            && old(at)
        {
            self.sum -= count;
            self.successes.pop_front();
        }
    }

    fn is_enough(&self) -> bool {
        let failures = self.failures.len() as f64;
        // Precise up to 2⁵³ of either.
        let share = (self.sum as f64 * self.failure_rate_threshold).ceil();
        failures >= f64::from(self.min_num_failures) && failures >= share && failures > 0.0
    }

    /// More failures than can matter are not kept: what is dropped is the oldest.
    fn most(&self) -> usize {
        usize::try_from(self.min_num_failures)
            .unwrap_or(usize::MAX)
            .max(65_536)
    }
}

impl FailureDetector for CommandFailureDetector {
    fn fresh(&self) -> Box<dyn FailureDetector> {
        let kinds = self.kinds.clone();
        Box::new(Self {
            kinds,
            ..Self::new(
                self.min_num_failures,
                self.failure_rate_threshold,
                self.window,
            )
        })
    }

    fn succeeded(&mut self, count: u64, now: Instant) {
        if count == 0 {
            return;
        }
        self.forget(now);
        self.sum += count;
        let slice = self.window / SLICES;
        match self.successes.back_mut() {
            Some((at, slice_count)) if now.saturating_duration_since(*at) < slice => {
                *slice_count += count;
            }
            _ => self.successes.push_back((now, count)),
        }
    }

    fn failed(&mut self, kind: FailureKind, now: Instant) -> bool {
        if self
            .kinds
            .as_ref()
            .is_some_and(|kinds| !kinds.contains(&kind))
        {
            return false;
        }
        self.forget(now);
        if self.failures.len() >= self.most() {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        self.is_enough()
    }

    fn reset(&mut self) {
        self.failures.clear();
        self.successes.clear();
        self.sum = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(2);

    fn trips(min: u32, rate: f64, successes: u64, failures: u32) -> bool {
        let now = Instant::now();
        let mut detector = CommandFailureDetector::new(min, rate, WINDOW);
        detector.succeeded(successes, now);
        (0..failures).any(|_| detector.failed(FailureKind::Timeout, now))
    }

    /// redis-py's own matrix: five successes, then two failures.
    #[test]
    fn count_and_rate_decide_together_and_zero_leaves_it_to_the_other() {
        for (min, rate, opens) in [
            (2, 0.4, true),
            (2, 0.0, true),
            (0, 0.4, true),
            (3, 0.4, false),
            (2, 0.41, false),
        ] {
            assert_eq!(trips(min, rate, 5, 2), opens, "({min}, {rate})");
        }
    }

    #[test]
    fn failures_spread_wider_than_the_window_are_never_too_many() {
        let mut now = Instant::now();
        let mut detector = CommandFailureDetector::new(4, 0.1, Duration::from_millis(100));
        for _ in 0..50 {
            assert!(!detector.failed(FailureKind::Timeout, now));
            now += Duration::from_millis(34);
        }
    }

    #[test]
    fn only_the_kinds_that_were_named_are_counted() {
        let now = Instant::now();
        let prototype = CommandFailureDetector::new(1, 0.0, WINDOW);
        let mut detector = prototype.error_types([FailureKind::Timeout]).fresh();
        assert!(!detector.failed(FailureKind::ReadOnly, now));
        assert!(detector.failed(FailureKind::Timeout, now));
    }

    #[test]
    fn successes_grow_old_too() {
        let now = Instant::now();
        let mut detector = CommandFailureDetector::new(2, 0.5, WINDOW);
        detector.succeeded(1_000_000, now);
        let later = now + WINDOW + Duration::from_millis(1);
        assert!(!detector.failed(FailureKind::Timeout, later));
        assert!(detector.failed(FailureKind::Timeout, later));
    }

    proptest! {
        /// Against the plain definition: all failures and successes no older than the window.
        #[test]
        fn it_agrees_with_counting_everything_again(
            min in 0u32..6,
            rate in 0.0f64..1.0,
            steps in proptest::collection::vec((0u64..400, any::<bool>(), 1u64..20), 1..120),
        ) {
            let mut now = Instant::now();
            let mut detector = CommandFailureDetector::new(min, rate, WINDOW);
            // The slice a success is dated with begins at its first success.
            let mut successes: Vec<(Instant, u64)> = Vec::new();
            let mut failures: Vec<Instant> = Vec::new();
            for (millis, fails, count) in steps {
                now += Duration::from_millis(millis);
                if fails {
                    failures.push(now);
                    let recent = |at: Instant| now - at <= WINDOW;
                    let failed = failures.iter().filter(|at| recent(**at)).count() as f64;
                    let succeeded: u64 = successes
                        .iter()
                        .filter(|(at, _)| recent(*at))
                        .map(|(_, count)| count)
                        .sum();
                    let expected = failed >= f64::from(min)
                        && failed >= (succeeded as f64 * rate).ceil();
                    prop_assert_eq!(detector.failed(FailureKind::Timeout, now), expected);
                } else {
                    detector.succeeded(count, now);
                    match successes.last_mut() {
                        Some((at, sum)) if now - *at < WINDOW / SLICES => *sum += count,
                        _ => successes.push((now, count)),
                    }
                }
            }
        }
    }
}
