//! A request's lease of a runner: membership first, then a slot, both given back on drop.

use std::sync::Arc;

use super::{KeepAlive, Runner};

/// While it exists the runner stays. Dropping it gives back the slot, if it has one, then the
/// membership.
pub struct Lease {
    runner: Arc<Runner>,
    slot: bool,
}

impl Lease {
    /// Joins a runner, unless it is closed. A `keep_alive` given replaces the runner's.
    pub(super) fn join(runner: &Arc<Runner>, keep_alive: Option<KeepAlive>) -> Option<Self> {
        if !runner.join() {
            return None;
        }
        let lease = Self {
            runner: runner.clone(),
            slot: false,
        };
        if keep_alive.is_some_and(|keep_alive| runner.set_keep_alive(keep_alive)) {
            runner.wake_loader();
        }
        Some(lease)
    }

    /// Another lease of the same runner. While this one exists the runner is open, so it succeeds.
    pub fn share(&self) -> Option<Self> {
        Self::join(&self.runner, None)
    }

    /// The runner it is of.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Waits for a slot, first come first served. Returns how many slots of the model are busy,
    /// this one included.
    pub async fn slot(&mut self) -> usize {
        let slots = self.runner.slots();
        let permit = match slots.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let _waiting = self.runner.totals().waiting.hold();
                // Never closed, so always granted.
                slots.acquire().await.ok()
            }
        };
        if let Some(permit) = permit {
            permit.forget();
        }
        self.slot = true;
        self.runner.totals().busy.enter();
        self.runner.entry().stats.busy.enter()
    }

    /// Gives the slot back and keeps the membership; nothing if it has no slot.
    pub fn release_slot(&mut self) {
        if self.give_up_slot() {
            self.runner.slots().add_permits(1);
        }
    }

    /// Leaks the slot: it is never given out again.
    pub fn leak_slot(&mut self) {
        self.give_up_slot();
    }

    fn give_up_slot(&mut self) -> bool {
        if self.slot {
            self.runner.totals().busy.leave();
            self.runner.entry().stats.busy.leave();
        }
        std::mem::take(&mut self.slot)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release_slot();
        self.runner.leave();
    }
}
