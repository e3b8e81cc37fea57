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
