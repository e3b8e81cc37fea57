//! When to seal, what is on its way, and who waits for it. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::store::{BatchId, SealedBatch};

/// So many batches on their way mean that the database does not keep up or is away: at five a
/// second, since more than three minutes.
const MOST_ON_THEIR_WAY: usize = 1_024;

/// Tells one [`State::flush`] from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spend) struct Ask(u64);

/// What the shell is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    ArmTimer,
    Seal,
    /// Seal, and have the journal say so when it has told of all batches until then.
    SealFor(Ask),
    Carry(Arc<SealedBatch>),
    Hurry,
    Forget(Vec<BatchId>),
    Answer(Ask),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    on_their_way: HashSet<BatchId>,
    /// There is something in the open batch.
    unsealed: bool,
    timer: bool,
    asked: u64,
    /// What each still waits for; `None` until the journal has told of it all.
    waiting: BTreeMap<Ask, Option<HashSet<BatchId>>>,
}

impl State {
    pub(super) fn unsealed(&mut self) -> Vec<Effect> {
        self.unsealed = true;
        self.arm()
    }

    pub(super) fn due(&mut self) -> Vec<Effect> {
        self.timer = false;
        self.seal_if_room()
    }

    pub(super) fn sealed(&mut self, batch: Arc<SealedBatch>) -> Vec<Effect> {
        self.on_their_way.insert(batch.id);
        vec![Effect::Carry(batch)]
    }

    pub(super) fn applied(&mut self, ids: Vec<BatchId>) -> Vec<Effect> {
        for id in &ids {
            self.on_their_way.remove(id);
            for awaited in self.waiting.values_mut().flatten() {
                awaited.remove(id);
            }
        }
        let mut effects = vec![Effect::Forget(ids)];
        effects.extend(self.answers());
        // Sealing may have been put off; a timer that is armed will do it.
        if !self.timer {
            effects.extend(self.seal_if_room());
        }
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
            *awaited = Some(self.on_their_way.clone());
        }
        let mut effects = self.answers();
        if self.waiting.values().any(Option::is_some) {
            effects.push(Effect::Hurry);
        }
        effects
    }

    fn arm(&mut self) -> Vec<Effect> {
        if std::mem::replace(&mut self.timer, true) {
            Vec::new()
        } else {
            vec![Effect::ArmTimer]
        }
    }

    fn seal_if_room(&mut self) -> Vec<Effect> {
        if !self.unsealed || self.on_their_way.len() >= MOST_ON_THEIR_WAY {
            return Vec::new();
        }
        self.unsealed = false;
        vec![Effect::Seal]
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
            id: id(seq),
            rows: Vec::new(),
            spend: Vec::new(),
            daily: Vec::new(),
            records: 1,
            oldest: 0,
        })
    }

    fn id(seq: u64) -> BatchId {
        BatchId {
            producer: Uuid::nil(),
            seq,
        }
    }

    #[test]
    fn the_timer_runs_only_while_something_is_open() {
        let mut state = State::default();
        assert_eq!(state.unsealed(), [Effect::ArmTimer]);
        assert_eq!(state.unsealed(), [], "it runs already");
        assert_eq!(state.due(), [Effect::Seal]);
        assert_eq!(state.due(), [], "nothing is open");
        assert_eq!(state.unsealed(), [Effect::ArmTimer]);
    }

    #[test]
    fn when_too_many_are_on_their_way_the_open_batch_waits_until_one_arrives() {
        let mut state = State::default();
        for seq in 0..MOST_ON_THEIR_WAY as u64 {
            assert_eq!(state.sealed(batch(seq)), [Effect::Carry(batch(seq))]);
        }
        state.unsealed();
        assert_eq!(state.due(), []);
        let effects = state.applied(vec![id(0)]);
        assert_eq!(effects, [Effect::Forget(vec![id(0)]), Effect::Seal]);
    }

    #[test]
    fn who_flushes_waits_for_what_was_there_and_not_for_what_came_later() {
        let mut state = State::default();
        state.sealed(batch(1));
        let (ask, effects) = state.flush();
        assert_eq!(effects, [Effect::SealFor(ask)]);
        state.sealed(batch(2));
        assert_eq!(state.settled(ask), [Effect::Hurry]);
        state.sealed(batch(3));
        assert_eq!(state.applied(vec![id(1)]), [Effect::Forget(vec![id(1)])]);
        let effects = state.applied(vec![id(2)]);
        assert_eq!(effects, [Effect::Forget(vec![id(2)]), Effect::Answer(ask)]);
    }

    #[test]
    fn who_flushes_nothing_is_answered_at_once() {
        let mut state = State::default();
        let (ask, _) = state.flush();
        assert_eq!(state.settled(ask), [Effect::Answer(ask)]);
    }
}
