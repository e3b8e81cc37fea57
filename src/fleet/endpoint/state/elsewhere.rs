//! A load that another router has the server do.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Effects, State};
use crate::domain::ModelName;
use crate::fleet::slot_pool::SlotPool;

/// The model, and until when that counts: whoever said so may be gone.
#[derive(Debug)]
pub(super) struct LoadElsewhere {
    pool: Arc<SlotPool>,
    until: Instant,
}

impl State {
    /// Another router has the server load this model.
    pub(in crate::fleet::endpoint) fn loads_elsewhere(
        &mut self,
        pool: &Arc<SlotPool>,
        until: Instant,
    ) -> Effects {
        self.elsewhere = Some(LoadElsewhere {
            pool: Arc::clone(pool),
            until,
        });
        self.publish_warm();
        Effects {
            changed: true,
            ..Effects::default()
        }
    }

    /// It does so no more.
    pub(in crate::fleet::endpoint) fn loaded_elsewhere(
        &mut self,
        pool: &Arc<SlotPool>,
        is_loaded: bool,
        now: Instant,
    ) -> Effects {
        let ours = |load: &LoadElsewhere| load.pool.serial() == pool.serial();
        let mut changed = self.elsewhere.take_if(|load| ours(load)).is_some();
        if is_loaded && self.loads && self.is_up() {
            changed |= self.warm.insert(pool.model().clone(), now).is_none();
        }
        if changed {
            self.publish_warm();
        }
        Effects {
            changed,
            ..Effects::default()
        }
    }

    /// What has taken longer than was said counts no more.
    pub(in crate::fleet::endpoint) fn pass_elsewhere(&mut self, now: Instant) -> Effects {
        let over = self.elsewhere.take_if(|load| now >= load.until).is_some();
        if over {
            self.publish_warm();
        }
        Effects {
            changed: over,
            ..Effects::default()
        }
    }

    /// Serial of the pool whose model is being loaded, by whichever router; 0 when none is.
    pub(in crate::fleet::endpoint) fn shown_loading(&self) -> u64 {
        let elsewhere = self.elsewhere.as_ref().map_or(0, |load| load.pool.serial());
        match self.loading() {
            0 => elsewhere,
            serial => serial,
        }
    }

    /// Whether a request of this pool would have the server load the model, were there a slot.
    pub(in crate::fleet::endpoint) fn would_load(&self, pool: &SlotPool) -> bool {
        let in_vain = self.is_held(pool) || self.is_overdue(pool);
        self.takes_requests() && !in_vain && self.is_cold(pool) && self.shown_loading() == 0
    }

    pub(super) fn is_loading_elsewhere(&self, pool: &SlotPool) -> bool {
        let mut load = self.elsewhere.iter();
        load.any(|load| load.pool.serial() == pool.serial())
    }

    pub(super) fn is_cold(&self, pool: &SlotPool) -> bool {
        let loading = self.is_loading(pool) || self.is_loading_elsewhere(pool);
        !loading && !self.is_warm(pool.model())
    }

    pub(super) fn elsewhere_model(&self) -> Option<&ModelName> {
        self.elsewhere.as_ref().map(|load| load.pool.model())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::{Answer, Probe};
    use crate::fleet::endpoint::{Refusal, Report};

    fn up(now: Instant) -> State {
        let mut state = State::new(Report::unknown(now), true, None, now);
        state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
        state
    }

    #[test]
    fn what_another_router_has_loaded_is_waited_for_and_nothing_else_is_loaded() {
        let now = Instant::now();
        let mut state = up(now);
        let (a, b) = (SlotPool::alone("a", 2), SlotPool::alone("b", 2));
        assert!(state.would_load(&a) && state.would_load(&b));
        assert!(
            state
                .loads_elsewhere(&a, now + Duration::from_secs(9))
                .changed
        );
        assert!(!state.would_load(&a) && !state.would_load(&b));
        assert_eq!(state.shown_loading(), a.serial());
        assert!(!state.is_direct(&a));
        let (joined, _) = state.acquire(&a, None, now);
        let (grant, _slot) = joined.unwrap();
        assert!(!grant.cold && grant.loading && grant.watched);
        assert_eq!(
            state.acquire(&b, None, now).0.unwrap_err(),
            Refusal::Loading
        );
        assert!(state.loaded_elsewhere(&a, true, now).changed);
        assert!(state.is_direct(&a));
        assert!(state.would_load(&b));
    }

    #[test]
    fn a_load_that_is_never_said_to_be_over_counts_as_long_as_was_said() {
        let now = Instant::now();
        let mut state = up(now);
        let a = SlotPool::alone("a", 2);
        let until = now + Duration::from_secs(9);
        state.loads_elsewhere(&a, until);
        assert!(
            !state
                .pass_elsewhere(until - Duration::from_millis(1))
                .changed
        );
        assert!(state.pass_elsewhere(until).changed);
        assert!(state.would_load(&a), "nobody has said that it is loaded");
    }
}
