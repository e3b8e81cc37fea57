//! What is to be written, and when. Pure: the random number is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::spend::portion::Portion;
use crate::spend::queue::Amount;
use crate::spend::settlement::Settlement;
use crate::store::{BatchId, SealedBatch};
use crate::supervision::Backoff;

/// A database that is away is asked again after 100 ms, and every five seconds in the end.
const RETRIES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The list of what was applied is shortened when it has grown by so much: a few minutes' worth.
const PRUNE_EVERY: usize = 2_000;

/// What the shell is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Instead of the timer that is armed, if one is.
    Arm(Duration),
    Write(Vec<Arc<SealedBatch>>),
    Report(Vec<Settlement>),
    Prune,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing to do.
    Idle,
    /// Waits for the timer.
    Gathering,
    /// A transaction is under way; `again` when another is to follow at once.
    Writing { again: bool },
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    interval: Duration,
    queue: BTreeMap<BatchId, Arc<SealedBatch>>,
    phase: Phase,
    portion: Portion,
    failures: u32,
    unpruned: usize,
}

impl State {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            queue: BTreeMap::new(),
            phase: Phase::Idle,
            portion: Portion::default(),
            failures: 0,
            unpruned: 0,
        }
    }

    pub(super) fn offer(&mut self, batch: Arc<SealedBatch>) -> Vec<Effect> {
        self.queue.insert(batch.id, batch);
        match self.phase {
            Phase::Idle => self.gather(self.interval),
            Phase::Gathering | Phase::Writing { .. } => Vec::new(),
        }
    }

    pub(super) fn queued(&self) -> Amount {
        let mut amount = Amount::default();
        self.queue.values().for_each(|one| amount.add(one.records));
        amount
    }

    pub(super) fn flush_now(&mut self) -> Vec<Effect> {
        match &mut self.phase {
            Phase::Idle => Vec::new(),
            Phase::Gathering => self.write(),
            Phase::Writing { again } => {
                *again = true;
                Vec::new()
            }
        }
    }

    pub(super) fn due(&mut self) -> Vec<Effect> {
        if self.phase == Phase::Gathering {
            self.write()
        } else {
            Vec::new()
        }
    }

    /// `None`: the transaction failed.
    pub(super) fn written(&mut self, done: Option<Vec<Settlement>>, random: f64) -> Vec<Effect> {
        let again = self.phase == Phase::Writing { again: true };
        let Some(settlements) = done else {
            self.failures = self.failures.saturating_add(1);
            self.portion.failed();
            return self.gather(RETRIES.delay(self.failures, random));
        };
        self.failures = 0;
        self.portion.succeeded();
        for settlement in &settlements {
            self.queue.remove(&settlement.id);
        }
        self.unpruned += settlements.len();
        let mut effects = vec![Effect::Report(settlements)];
        if self.unpruned >= PRUNE_EVERY {
            self.unpruned = 0;
            effects.push(Effect::Prune);
        }
        if self.queue.is_empty() {
            self.phase = Phase::Idle;
        } else if again {
            effects.extend(self.write());
        } else {
            effects.extend(self.gather(self.interval));
        }
        effects
    }

    fn gather(&mut self, pause: Duration) -> Vec<Effect> {
        self.phase = Phase::Gathering;
        vec![Effect::Arm(pause)]
    }

    fn write(&mut self) -> Vec<Effect> {
        let count = self.portion.of(self.queue.values());
        let batches: Vec<_> = self.queue.values().take(count).cloned().collect();
        // What did not fit has waited long enough, too.
        let again = self.queue.len() > batches.len();
        self.phase = Phase::Writing { again };
        vec![Effect::Write(batches)]
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// So many empty batches go together.
    const AT_ONCE: usize = 1_024;

    fn id(seq: u64) -> BatchId {
        BatchId {
            producer: Uuid::nil(),
            seq,
        }
    }

    fn whole(seqs: impl IntoIterator<Item = u64>) -> Vec<Settlement> {
        seqs.into_iter()
            .map(|seq| Settlement::whole(id(seq)))
            .collect()
    }

    fn batch(seq: u64) -> Arc<SealedBatch> {
        Arc::new(SealedBatch {
            records: 1,
            ..SealedBatch::empty(id(seq))
        })
    }

    #[test]
    fn batches_gather_until_the_timer_and_are_written_together() {
        let mut state = State::new(SECOND);
        assert_eq!(state.offer(batch(1)), [Effect::Arm(SECOND)]);
        assert_eq!(state.offer(batch(2)), []);
        assert_eq!(state.due(), [Effect::Write(vec![batch(1), batch(2)])]);
        assert_eq!(
            state.written(Some(whole([1, 2])), 0.0),
            [Effect::Report(whole([1, 2]))]
        );
        assert_eq!(state.offer(batch(3)), [Effect::Arm(SECOND)]);
    }

    #[test]
    fn a_batch_offered_twice_is_written_once() {
        let mut state = State::new(SECOND);
        state.offer(batch(1));
        state.offer(batch(1));
        assert_eq!(state.flush_now(), [Effect::Write(vec![batch(1)])]);
    }

    #[test]
    fn what_does_not_fit_follows_at_once_and_what_comes_meanwhile_gathers() {
        let mut state = State::new(SECOND);
        for seq in 0..=AT_ONCE as u64 {
            state.offer(batch(seq));
        }
        let all: Vec<_> = (0..AT_ONCE as u64).map(batch).collect();
        let ids = whole(0..AT_ONCE as u64);
        assert_eq!(state.due(), [Effect::Write(all)]);
        let last = batch(AT_ONCE as u64);
        let effects = state.written(Some(ids.clone()), 0.0);
        assert_eq!(
            effects,
            [Effect::Report(ids), Effect::Write(vec![last.clone()])]
        );
        state.offer(batch(9_999));
        let effects = state.written(Some(whole([last.id.seq])), 0.0);
        let gathers = Effect::Arm(SECOND);
        assert_eq!(effects, [Effect::Report(whole([last.id.seq])), gathers]);
    }

    #[test]
    fn a_failed_transaction_is_tried_again_more_and_more_slowly() {
        let mut state = State::new(SECOND);
        state.offer(batch(1));
        let mut pauses = Vec::new();
        for _ in 1..=10 {
            assert_eq!(state.due(), [Effect::Write(vec![batch(1)])]);
            match &state.written(None, 0.0)[..] {
                [Effect::Arm(pause)] => pauses.push(pause.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pauses[..3], [100, 200, 400]);
        assert_eq!(pauses[9], 5_000);
        assert_eq!(
            state.flush_now(),
            [Effect::Write(vec![batch(1)])],
            "who asks need not wait"
        );
    }

    #[test]
    fn what_was_too_much_for_the_database_is_tried_in_smaller_parts() {
        let mut state = State::new(SECOND);
        for seq in 0..1_024 {
            state.offer(batch(seq));
        }
        let mut written = Vec::new();
        for _ in 1..=8 {
            match &state.due()[..] {
                [Effect::Write(batches)] => written.push(batches.len()),
                other => panic!("{other:?}"),
            }
            state.written(None, 0.0);
        }
        // An empty batch is one row, its id.
        assert_eq!(
            written,
            [1_024, 1_024, 1_024, 1_024, 1_024, 1_024, 1_024, 1_000]
        );
    }

    #[test]
    fn flush_now_during_a_transaction_starts_another_one_after_it() {
        let mut state = State::new(SECOND);
        state.offer(batch(1));
        state.flush_now();
        state.offer(batch(2));
        assert_eq!(state.flush_now(), []);
        let effects = state.written(Some(whole([1])), 0.0);
        assert_eq!(
            effects,
            [Effect::Report(whole([1])), Effect::Write(vec![batch(2)])]
        );
    }
}
