//! When to ask, when to renew, and when it expires. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::Leadership;

/// The reply to acquiring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Ours, under this epoch.
    Granted(u64),
    /// Somebody else's, for so long at least.
    Taken(Duration),
    /// It may be ours or not: asking again gets the same answer, under another epoch.
    NoAnswer,
}

/// The reply to renewing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    Ours,
    /// It ran out, or Redis forgot it.
    Lost,
    NoAnswer,
}

/// What the shell is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Instead of the timer that is armed, if one is.
    Arm(Duration),
    /// Under an epoch above this one.
    Acquire(u64),
    Renew,
    Release,
    Publish(Option<Leadership>),
    /// To those who asked to resign.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its timer.
    Candidate,
    /// Has asked.
    Asking,
    Leading(Leadership),
    /// Does not want it any more, and waits for the reply to its last request, or to the release.
    Resigning,
    Resigned,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    ttl: Duration,
    phase: Phase,
    /// No leadership may begin at this epoch or below.
    floor: u64,
}

impl State {
    pub(super) fn new(ttl: Duration) -> (Self, Vec<Effect>) {
        let mut state = Self {
            ttl,
            phase: Phase::Candidate,
            floor: 0,
        };
        let effects = state.ask();
        (state, effects)
    }

    pub(super) fn due(&mut self, now: Instant) -> Vec<Effect> {
        match self.phase {
            Phase::Candidate => self.ask(),
            Phase::Leading(leadership) if now < leadership.until => vec![Effect::Renew],
            Phase::Leading(_) => self.lose(),
            Phase::Asking | Phase::Resigning | Phase::Resigned => Vec::new(),
        }
    }

    pub(super) fn asked(&mut self, sent: Instant, reply: Asked, now: Instant) -> Vec<Effect> {
        match (self.phase, reply) {
            (Phase::Resigning, Asked::Granted(_) | Asked::NoAnswer) => vec![Effect::Release],
            (Phase::Resigning, Asked::Taken(_)) => self.released(),
            (Phase::Asking, Asked::Granted(epoch)) => {
                self.floor = self.floor.max(epoch);
                self.lead(epoch, sent, now)
            }
            (Phase::Asking, Asked::Taken(left)) => self.wait(left.min(self.third())),
            (Phase::Asking, Asked::NoAnswer) => self.wait(self.third()),
            _ => Vec::new(),
        }
    }

    pub(super) fn renewed(&mut self, sent: Instant, reply: Renewed, now: Instant) -> Vec<Effect> {
        let Phase::Leading(leadership) = self.phase else {
            return Vec::new();
        };
        match reply {
            Renewed::Ours => self.lead(leadership.epoch, sent, now),
            Renewed::NoAnswer if now < leadership.until => {
                let left = leadership.until - now;
                vec![Effect::Arm(left.min(self.third() / 2))]
            }
            Renewed::Lost | Renewed::NoAnswer => self.lose(),
        }
    }

    pub(super) fn superseded(&mut self, epoch: u64) -> Vec<Effect> {
        self.floor = self.floor.max(epoch);
        match self.phase {
            Phase::Leading(leadership) if leadership.epoch <= epoch => self.lose(),
            _ => Vec::new(),
        }
    }

    pub(super) fn resign(&mut self) -> Vec<Effect> {
        match self.phase {
            Phase::Candidate => self.released(),
            Phase::Leading(_) => {
                self.phase = Phase::Resigning;
                vec![Effect::Publish(None), Effect::Release]
            }
            Phase::Asking => {
                self.phase = Phase::Resigning;
                Vec::new()
            }
            Phase::Resigning => Vec::new(),
            Phase::Resigned => vec![Effect::Answer],
        }
    }

    pub(super) fn released(&mut self) -> Vec<Effect> {
        self.phase = Phase::Resigned;
        vec![Effect::Answer]
    }

    /// From when it was sent, not from when it was answered: Redis counted no later.
    fn lead(&mut self, epoch: u64, sent: Instant, now: Instant) -> Vec<Effect> {
        let until = sent + self.ttl;
        if until <= now {
            return self.lose();
        }
        let leadership = Leadership { epoch, until };
        self.phase = Phase::Leading(leadership);
        let pause = self.third().saturating_sub(now - sent);
        vec![Effect::Publish(Some(leadership)), Effect::Arm(pause)]
    }

    fn lose(&mut self) -> Vec<Effect> {
        let mut effects = vec![Effect::Publish(None)];
        effects.extend(self.ask());
        effects
    }

    fn ask(&mut self) -> Vec<Effect> {
        self.phase = Phase::Asking;
        vec![Effect::Acquire(self.floor)]
    }

    fn wait(&mut self, pause: Duration) -> Vec<Effect> {
        self.phase = Phase::Candidate;
        vec![Effect::Arm(pause)]
    }

    fn third(&self) -> Duration {
        self.ttl / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(9);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Leads since `now`, under epoch 5.
    fn leader(now: Instant) -> State {
        let (mut state, first) = State::new(TTL);
        assert_eq!(first, [Effect::Acquire(0)]);
        let leadership = Leadership {
            epoch: 5,
            until: now + TTL,
        };
        assert_eq!(
            state.asked(now, Asked::Granted(5), now),
            [Effect::Publish(Some(leadership)), Effect::Arm(seconds(3))]
        );
        state
    }

    #[test]
    fn it_is_renewed_at_a_third_of_its_time_and_lasts_from_when_that_was_sent() {
        let now = Instant::now();
        let mut state = leader(now);
        let (sent, answered) = (now + seconds(3), now + seconds(4));
        assert_eq!(state.due(sent), [Effect::Renew]);
        let leadership = Leadership {
            epoch: 5,
            until: sent + TTL,
        };
        assert_eq!(
            state.renewed(sent, Renewed::Ours, answered),
            [Effect::Publish(Some(leadership)), Effect::Arm(seconds(2))]
        );
    }

    #[test]
    fn without_redis_it_ends_by_our_own_clock() {
        let now = Instant::now();
        let mut state = leader(now);
        state.due(now + seconds(3));
        let retry = state.renewed(now + seconds(3), Renewed::NoAnswer, now + seconds(6));
        assert_eq!(retry, [Effect::Arm(Duration::from_millis(1_500))]);
        let over = state.due(now + seconds(9));
        assert_eq!(over, [Effect::Publish(None), Effect::Acquire(5)]);
    }

    #[test]
    fn an_answer_that_comes_when_its_time_is_over_grants_nothing() {
        let (mut state, _) = State::new(TTL);
        let now = Instant::now();
        let late = state.asked(now, Asked::Granted(1), now + seconds(30));
        assert_eq!(late, [Effect::Publish(None), Effect::Acquire(1)]);
    }

    #[test]
    fn a_candidate_comes_back_when_it_runs_out_and_looks_before_that() {
        let (mut state, _) = State::new(TTL);
        let now = Instant::now();
        let soon = state.asked(now, Asked::Taken(seconds(1)), now);
        assert_eq!(soon, [Effect::Arm(seconds(1))]);
        assert_eq!(state.due(now), [Effect::Acquire(0)]);
        let later = state.asked(now, Asked::Taken(seconds(8)), now);
        assert_eq!(later, [Effect::Arm(seconds(3))]);
    }

    #[test]
    fn a_superseded_leader_comes_back_above_that_epoch() {
        let now = Instant::now();
        let mut state = leader(now);
        assert_eq!(state.superseded(4), [], "that was before");
        let over = state.superseded(40);
        assert_eq!(over, [Effect::Publish(None), Effect::Acquire(40)]);
        assert_eq!(
            state.renewed(now, Renewed::Ours, now),
            [],
            "that was the old one"
        );
    }

    /// Two databases that know nothing of each other give out the same numbers.
    #[test]
    fn who_finds_another_under_its_own_epoch_comes_back_above_it() {
        let mut state = leader(Instant::now());
        let over = state.superseded(5);
        assert_eq!(over, [Effect::Publish(None), Effect::Acquire(5)]);
    }

    #[test]
    fn who_resigns_gives_it_back_even_if_it_only_asked_for_it() {
        let now = Instant::now();
        let mut state = leader(now);
        assert_eq!(state.resign(), [Effect::Publish(None), Effect::Release]);
        assert_eq!(state.released(), [Effect::Answer]);
        assert_eq!(state.due(now), []);
        assert_eq!(state.resign(), [Effect::Answer]);

        let (mut asking, _) = State::new(TTL);
        assert_eq!(asking.resign(), []);
        assert_eq!(asking.asked(now, Asked::NoAnswer, now), [Effect::Release]);
        assert_eq!(asking.released(), [Effect::Answer]);
    }
}
