//! When a round begins. Pure: the random number is an argument.

use std::time::Duration;

use crate::spend::portion::Portion;
use crate::supervision::Backoff;

/// A database that is away is asked again after 100 ms, and every five seconds in the end.
const RETRIES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The list of what was applied is shortened when it has grown by so much.
const PRUNE_EVERY: usize = 5_000;

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spend) enum Ended {
    /// Another router leads.
    NotLeading,
    /// Everything there was has been dealt with, so many batches.
    Empty { batches: usize },
    /// An error stopped it.
    Failed,
}

/// What the shell is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Arm(Duration),
    /// So much of it at a time.
    Round(Portion),
    Prune,
    /// To those who asked it to finish.
    Answer,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    interval: Duration,
    running: bool,
    finishing: bool,
    failures: u32,
    portion: Portion,
    unpruned: usize,
}

impl State {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            running: false,
            finishing: false,
            failures: 0,
            portion: Portion::default(),
            unpruned: 0,
        }
    }

    pub(super) fn due(&mut self) -> Vec<Effect> {
        if self.running || self.finishing {
            return Vec::new();
        }
        self.running = true;
        vec![Effect::Round(self.portion)]
    }

    pub(super) fn ended(&mut self, how: Ended, random: f64) -> Vec<Effect> {
        self.running = false;
        let pause = match how {
            Ended::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.portion.failed();
                RETRIES.delay(self.failures, random)
            }
            Ended::NotLeading => {
                self.failures = 0;
                self.interval
            }
            Ended::Empty { batches } => {
                self.failures = 0;
                if batches > 0 {
                    self.portion.succeeded();
                }
                self.unpruned += batches;
                self.interval
            }
        };
        if self.finishing {
            return vec![Effect::Answer];
        }
        let mut effects = vec![Effect::Arm(pause)];
        if self.unpruned >= PRUNE_EVERY {
            self.unpruned = 0;
            effects.push(Effect::Prune);
        }
        effects
    }

    pub(super) fn finish(&mut self) -> Vec<Effect> {
        self.finishing = true;
        if self.running {
            Vec::new()
        } else {
            vec![Effect::Answer]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const EMPTY: Ended = Ended::Empty { batches: 1 };

    #[test]
    fn one_round_follows_the_other() {
        let mut state = State::new(SECOND);
        assert_eq!(state.due(), [Effect::Round(Portion::default())]);
        assert_eq!(state.due(), [], "one at a time");
        assert_eq!(state.ended(EMPTY, 0.0), [Effect::Arm(SECOND)]);
        assert_eq!(state.due(), [Effect::Round(Portion::default())]);
        let elsewhere = state.ended(Ended::NotLeading, 0.0);
        assert_eq!(elsewhere, [Effect::Arm(SECOND)], "it may lead by then");
    }

    #[test]
    fn the_list_of_what_was_applied_does_not_grow_for_ever() {
        let mut state = State::new(SECOND);
        let many = Ended::Empty {
            batches: PRUNE_EVERY - 1,
        };
        state.due();
        assert_eq!(state.ended(many, 0.0), [Effect::Arm(SECOND)]);
        state.due();
        let pruned = [Effect::Arm(SECOND), Effect::Prune];
        assert_eq!(state.ended(EMPTY, 0.0), pruned);
        state.due();
        assert_eq!(state.ended(EMPTY, 0.0), [Effect::Arm(SECOND)]);
    }

    #[test]
    fn after_a_failure_it_waits_ever_longer_and_not_for_ever() {
        let mut state = State::new(SECOND);
        let pauses: Vec<u128> = (0..8)
            .map(|_| {
                state.due();
                match state.ended(Ended::Failed, 0.0)[..] {
                    [Effect::Arm(pause)] => pause.as_millis(),
                    ref other => panic!("{other:?}"),
                }
            })
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        state.due();
        assert_eq!(state.ended(EMPTY, 0.0), [Effect::Arm(SECOND)]);
    }

    #[test]
    fn who_asks_it_to_finish_waits_for_the_round_under_way() {
        let mut state = State::new(SECOND);
        state.due();
        assert_eq!(state.finish(), []);
        assert_eq!(state.ended(EMPTY, 0.0), [Effect::Answer]);
        assert_eq!(state.due(), []);
        assert_eq!(state.finish(), [Effect::Answer]);
    }
}
