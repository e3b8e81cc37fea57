//! Restart intensity: how often one child may end within a time before its restarts are paused.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Backoff;

/// How often a supervisor restarts a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Ends within the window after which the child is not restarted at once any more.
    pub max: usize,
    /// The window. For a child that ran longer than this no earlier end counts.
    pub within: Duration,
    /// The pause before each restart.
    pub backoff: Backoff,
}

/// The recent ends of one child.
#[derive(Debug)]
pub struct Restart {
    policy: RestartPolicy,
    ends: VecDeque<Instant>,
}

/// What to do when a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it again after this pause.
    After(Duration),
    /// It ends too often: what that means is the supervisor's decision.
    GiveUp,
}

impl Restart {
    /// A child that has not ended yet.
    #[must_use]
    pub fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            ends: VecDeque::with_capacity(policy.max),
        }
    }

    /// It ended at `now`. `random`, in `[0, 1)`, spreads the restarts of many.
    pub fn ended(&mut self, now: Instant, random: f64) -> Decision {
        let within = self.policy.within;
        self.ends
            .retain(|&end| now.saturating_duration_since(end) < within);
        if self.ends.len() >= self.policy.max {
            self.ends.clear();
            return Decision::GiveUp;
        }
        self.ends.push_back(now);
        let failures = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        Decision::After(self.policy.backoff.delay(failures, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        max: 3,
        within: Duration::from_secs(30),
        backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
    };

    fn after(millis: u64) -> Decision {
        Decision::After(Duration::from_millis(millis))
    }

    #[test]
    fn restarts_of_a_child_that_keeps_ending_are_delayed_and_then_paused() {
        let (mut restart, now) = (Restart::new(POLICY), Instant::now());
        let decisions = [0, 1, 2, 3].map(|s| restart.ended(now + Duration::from_secs(s), 0.0));
        assert_eq!(
            decisions,
            [after(10), after(20), after(40), Decision::GiveUp]
        );
    }

    #[test]
    fn old_ends_do_not_count() {
        let (mut restart, now) = (Restart::new(POLICY), Instant::now());
        for n in 0..10 {
            let later = now + Duration::from_secs(31 * n);
            assert_eq!(restart.ended(later, 0.0), after(10));
        }
    }
}
