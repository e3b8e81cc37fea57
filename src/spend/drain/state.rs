//! When a round begins, and how it has to begin. Pure: time and dice are arguments.

use std::time::Duration;

use tokio::time::Instant;

use crate::supervision::Backoff;

/// What was read and not removed is looked at once more after this, though nothing failed: what
/// only a later version understands may have been applied by now.
const LOOK_BACK: Duration = Duration::from_secs(30);

/// A database that is away is asked again after 100 ms, and every five seconds in the end.
const RETRIES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The list of what was applied is shortened when it has grown by so much.
const PRUNE_EVERY: usize = 5_000;

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spend) enum Ended {
    /// Somebody else's business.
    NotLeading,
    /// Under this epoch, everything there was has been dealt with, so many batches.
    Empty { epoch: u64, batches: usize },
    /// Something was in the way.
    Failed,
}

/// What the shell is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Arm(Duration),
    /// What was read before under this epoch has been dealt with; `None`: look at everything.
    Round(Option<u64>),
    Prune,
    /// To those who asked for rest.
    Answer,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    interval: Duration,
    running: bool,
    resting: bool,
    failures: u32,
    /// The epoch under which everything read was dealt with, and when that was first so.
    clean: Option<(u64, Instant)>,
    unpruned: usize,
}

impl State {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            running: false,
            resting: false,
            failures: 0,
            clean: None,
            unpruned: 0,
        }
    }

    pub(super) fn due(&mut self, now: Instant) -> Vec<Effect> {
        if self.running || self.resting {
            return Vec::new();
        }
        self.running = true;
        let young = |(_, since): &(u64, Instant)| now.duration_since(*since) < LOOK_BACK;
        self.clean = self.clean.filter(young);
        vec![Effect::Round(self.clean.map(|(epoch, _)| epoch))]
    }

    pub(super) fn ended(&mut self, how: Ended, now: Instant, dice: f64) -> Vec<Effect> {
        self.running = false;
        let pause = match how {
            Ended::NotLeading => {
                (self.clean, self.failures) = (None, 0);
                self.interval
            }
            Ended::Empty { epoch, batches } => {
                self.unpruned += batches;
                let since = self.clean.filter(|(clean, _)| *clean == epoch);
                self.clean = since.or(Some((epoch, now)));
                self.failures = 0;
                self.interval
            }
            Ended::Failed => {
                self.clean = None;
                self.failures = self.failures.saturating_add(1);
                RETRIES.delay(self.failures, dice)
            }
        };
        if self.resting {
            return vec![Effect::Answer];
        }
        let mut effects = vec![Effect::Arm(pause)];
        if self.unpruned >= PRUNE_EVERY {
            self.unpruned = 0;
            effects.push(Effect::Prune);
        }
        effects
    }

    pub(super) fn rest(&mut self) -> Vec<Effect> {
        self.resting = true;
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

    fn empty(epoch: u64) -> Ended {
        Ended::Empty { epoch, batches: 1 }
    }

    #[test]
    fn a_new_leader_looks_at_everything_and_then_only_at_what_is_new() {
        let (mut state, now) = (State::new(SECOND), Instant::now());
        assert_eq!(state.due(now), [Effect::Round(None)]);
        assert_eq!(state.due(now), [], "one at a time");
        assert_eq!(state.ended(empty(3), now, 0.0), [Effect::Arm(SECOND)]);
        assert_eq!(state.due(now + SECOND), [Effect::Round(Some(3))]);
        state.ended(empty(3), now, 0.0);
        let later = now + LOOK_BACK;
        assert_eq!(state.due(later), [Effect::Round(None)], "once in a while");
    }

    #[test]
    fn the_list_of_what_was_applied_does_not_grow_for_ever() {
        let (mut state, now) = (State::new(SECOND), Instant::now());
        let many = Ended::Empty {
            epoch: 1,
            batches: PRUNE_EVERY - 1,
        };
        state.due(now);
        assert_eq!(state.ended(many, now, 0.0), [Effect::Arm(SECOND)]);
        state.due(now);
        let pruned = [Effect::Arm(SECOND), Effect::Prune];
        assert_eq!(state.ended(empty(1), now, 0.0), pruned);
        state.due(now);
        assert_eq!(state.ended(empty(1), now, 0.0), [Effect::Arm(SECOND)]);
    }

    #[test]
    fn after_a_failure_it_waits_ever_longer_and_looks_at_everything() {
        let (mut state, now) = (State::new(SECOND), Instant::now());
        state.due(now);
        state.ended(empty(3), now, 0.0);
        let pauses = [100, 200, 400].map(Duration::from_millis);
        for pause in pauses {
            state.due(now);
            assert_eq!(state.ended(Ended::Failed, now, 0.0), [Effect::Arm(pause)]);
        }
        assert_eq!(state.due(now), [Effect::Round(None)]);
        assert_eq!(
            state.ended(Ended::NotLeading, now, 0.0),
            [Effect::Arm(SECOND)]
        );
    }

    #[test]
    fn who_asks_for_rest_waits_for_the_round_under_way() {
        let (mut state, now) = (State::new(SECOND), Instant::now());
        state.due(now);
        assert_eq!(state.rest(), []);
        assert_eq!(state.ended(empty(1), now, 0.0), [Effect::Answer]);
        assert_eq!(state.due(now), []);
        assert_eq!(state.rest(), [Effect::Answer]);
    }
}
