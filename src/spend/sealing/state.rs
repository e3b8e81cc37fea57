//! When to seal, what is in transit, and who waits for it. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::spend::settlement::Settlement;
use crate::store::{BatchId, SealedBatch};

/// With each so many batches pending, a batch stays open for twice as long: at five a second,
/// an outage of an hour makes six hundred.
const DOUBLING: usize = 64;

/// Tells one [`State::flush`] from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spend) struct Ask(u64);

/// What the shell is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Arm(Duration),
    Seal,
    /// Seal, and have the journal call back when it has reported all batches until then.
    SealFor(Ask),
    Send(Arc<SealedBatch>),
    FlushNow,
    Forget(Vec<Settlement>),
    Answer(Ask),
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    interval: Duration,
    longest: Duration,
    in_transit: HashSet<BatchId>,
    /// There is something in the open batch.
    unsealed: bool,
    timer: bool,
    asked: u64,
    /// What each still waits for; `None` until the journal has reported it all.
    waiting: BTreeMap<Ask, Option<HashSet<BatchId>>>,
}

impl State {
    pub(super) fn new(interval: Duration, longest: Duration) -> Self {
        Self {
            interval,
            longest,
            in_transit: HashSet::new(),
            unsealed: false,
            timer: false,
            asked: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// There is something in the open batch, and so many before it are pending.
    pub(super) fn unsealed(&mut self, pending: usize) -> Vec<Effect> {
        self.unsealed = true;
        self.arm(pending)
    }

    pub(super) fn due(&mut self) -> Vec<Effect> {
        self.timer = false;
        if !std::mem::replace(&mut self.unsealed, false) {
            return Vec::new();
        }
        vec![Effect::Seal]
    }

    pub(super) fn sealed(&mut self, batch: Arc<SealedBatch>) -> Vec<Effect> {
        self.in_transit.insert(batch.id);
        vec![Effect::Send(batch)]
    }

    pub(super) fn applied(&mut self, settlements: Vec<Settlement>) -> Vec<Effect> {
        for Settlement { id, .. } in &settlements {
            self.in_transit.remove(id);
            for awaited in self.waiting.values_mut().flatten() {
                awaited.remove(id);
            }
        }
        let mut effects = vec![Effect::Forget(settlements)];
        effects.extend(self.answers());
        effects
    }

    pub(super) fn flush(&mut self) -> (Ask, Vec<Effect>) {
        self.asked += 1;
        let ask = Ask(self.asked);
        self.waiting.insert(ask, None);
        self.unsealed = false;
        (ask, vec![Effect::SealFor(ask)])
    }

    pub(super) fn settled(&mut self, ask: Ask) -> Vec<Effect> {
        if let Some(awaited) = self.waiting.get_mut(&ask) {
            *awaited = Some(self.in_transit.clone());
        }
        let mut effects = self.answers();
        if self.waiting.values().any(Option::is_some) {
            effects.push(Effect::FlushNow);
        }
        effects
    }

    fn arm(&mut self, pending: usize) -> Vec<Effect> {
        if std::mem::replace(&mut self.timer, true) {
            return Vec::new();
        }
        let doublings = (pending / DOUBLING).min(31);
        let pause = self.interval.saturating_mul(1 << doublings);
        vec![Effect::Arm(pause.min(self.longest.max(self.interval)))]
    }

    fn answers(&mut self) -> Vec<Effect> {
        let empty = |awaited: &Option<HashSet<_>>| awaited.as_ref().is_some_and(HashSet::is_empty);
        let done: Vec<Ask> = self
            .waiting
            .iter()
            .filter(|(_, awaited)| empty(awaited))
            .map(|(&ask, _)| ask)
            .collect();
        for ask in &done {
            self.waiting.remove(ask);
        }
        done.into_iter().map(Effect::Answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn batch(seq: u64) -> Arc<SealedBatch> {
        Arc::new(SealedBatch {
            records: 1,
            ..SealedBatch::empty(id(seq))
        })
    }

    fn id(seq: u64) -> BatchId {
        BatchId {
            producer: Uuid::nil(),
            seq,
        }
    }

    fn whole(seq: u64) -> Vec<Settlement> {
        vec![Settlement::whole(id(seq))]
    }

    fn state() -> State {
        State::new(Duration::from_millis(200), Duration::from_secs(60))
    }

    fn pause(effects: &[Effect]) -> Duration {
        match effects {
            [Effect::Arm(pause)] => *pause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_timer_runs_only_while_something_is_open() {
        let mut state = state();
        assert_eq!(pause(&state.unsealed(0)), Duration::from_millis(200));
        assert_eq!(state.unsealed(0), [], "it runs already");
        assert_eq!(state.due(), [Effect::Seal]);
        assert_eq!(state.due(), [], "nothing is open");
        assert_eq!(pause(&state.unsealed(0)), Duration::from_millis(200));
    }

    #[test]
    fn an_outage_of_a_day_makes_a_number_of_batches_that_fits_into_memory() {
        let (mut state, mut passed) = (state(), Duration::ZERO);
        let mut batches = 0_u64;
        while passed < Duration::from_secs(24 * 3600) {
            passed += pause(&state.unsealed(usize::try_from(batches).unwrap()));
            assert_eq!(state.due(), [Effect::Seal]);
            batches += 1;
        }
        assert!((500..2_100).contains(&batches), "{batches}");
        assert_eq!(pause(&state.unsealed(0)), Duration::from_millis(200));
    }

    #[test]
    fn who_flushes_waits_for_what_was_there_and_not_for_what_came_later() {
        let mut state = state();
        state.sealed(batch(1));
        let (ask, effects) = state.flush();
        assert_eq!(effects, [Effect::SealFor(ask)]);
        state.sealed(batch(2));
        assert_eq!(state.settled(ask), [Effect::FlushNow]);
        state.sealed(batch(3));
        assert_eq!(state.applied(whole(1)), [Effect::Forget(whole(1))]);
        let effects = state.applied(whole(2));
        assert_eq!(effects, [Effect::Forget(whole(2)), Effect::Answer(ask)]);
    }

    #[test]
    fn who_flushes_nothing_is_answered_at_once() {
        let mut state = state();
        let (ask, _) = state.flush();
        assert_eq!(state.settled(ask), [Effect::Answer(ask)]);
    }
}
