//! Restart intensity: how many deaths of one child are bad luck, and from when on they are a defect.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Backoff;

/// How patient a supervisor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Deaths within the window after which restarting stops making sense.
    pub max: usize,
    /// The window. A child that lived longer than this starts with a clean record.
    pub within: Duration,
    /// The pause before each restart.
    pub backoff: Backoff,
}

/// One child's recent deaths.
#[derive(Debug)]
pub struct Restart {
    policy: RestartPolicy,
    deaths: VecDeque<Instant>,
}

/// What to do about a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this pause.
    After(Duration),
    /// It dies too often: what that means is the supervisor's to say.
    GiveUp,
}

impl Restart {
    /// A child with a clean record.
    #[must_use]
    pub fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            deaths: VecDeque::with_capacity(policy.max),
        }
    }

    /// It died at `now`. `dice`, in `[0, 1)`, spreads the restarts of many.
    pub fn died(&mut self, now: Instant, dice: f64) -> Verdict {
        let within = self.policy.within;
        self.deaths
            .retain(|&death| now.saturating_duration_since(death) < within);
        if self.deaths.len() >= self.policy.max {
            self.deaths.clear();
            return Verdict::GiveUp;
        }
        self.deaths.push_back(now);
        let failures = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        Verdict::After(self.policy.backoff.delay(failures, dice))
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

    fn after(millis: u64) -> Verdict {
        Verdict::After(Duration::from_millis(millis))
    }

    #[test]
    fn deaths_in_a_row_are_answered_more_slowly_and_then_not_at_all() {
        let (mut restart, now) = (Restart::new(POLICY), Instant::now());
        let verdicts = [0, 1, 2, 3].map(|s| restart.died(now + Duration::from_secs(s), 0.0));
        assert_eq!(verdicts, [after(10), after(20), after(40), Verdict::GiveUp]);
    }

    #[test]
    fn old_deaths_are_forgotten() {
        let (mut restart, now) = (Restart::new(POLICY), Instant::now());
        for n in 0..10 {
            let later = now + Duration::from_secs(31 * n);
            assert_eq!(restart.died(later, 0.0), after(10));
        }
    }
}
