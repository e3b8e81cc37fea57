//! This router's part of one meter in one window.
//!
//! `total = free + reserved + spent`, where *reserved* is counted nowhere: it is what requests hold
//! and what makes the sum right. Requests move amounts between the three; only the actor changes
//! the sum. So the actor may read one number at a time, in any order, and still knows exactly what
//! this router has: the sum it keeps itself.

use std::sync::atomic::{AtomicI64, Ordering};

/// See the module.
#[derive(Debug)]
pub struct Share {
    /// Which window of the meter.
    window: i64,
    /// The moment of the local clock, in milliseconds, at which the window is over.
    ends_ms: AtomicI64,
    /// What may be taken. Below zero: requests cost more than they had reserved and there was
    /// nothing left to take the rest from.
    free: AtomicI64,
    spent: AtomicI64,
    /// Below this, the actor is notified.
    low: AtomicI64,
    /// Taken since the actor last asked.
    drawn: AtomicI64,
    /// Only the actor writes it.
    total: AtomicI64,
}

impl Share {
    /// A share of nothing.
    #[must_use]
    pub fn new(window: i64, ends_ms: i64) -> Self {
        Self {
            window,
            ends_ms: AtomicI64::new(ends_ms),
            free: AtomicI64::new(0),
            spent: AtomicI64::new(0),
            low: AtomicI64::new(0),
            drawn: AtomicI64::new(0),
            total: AtomicI64::new(0),
        }
    }

    /// Its window.
    #[must_use]
    pub fn window(&self) -> i64 {
        self.window
    }

    /// Whether its window is over.
    #[must_use]
    pub fn is_over(&self, now_ms: i64) -> bool {
        now_ms >= self.ends_ms.load(Ordering::Relaxed)
    }

    /// What has been spent of it.
    #[must_use]
    pub fn spent(&self) -> i64 {
        self.spent.load(Ordering::Acquire)
    }

    pub(super) fn take(&self, amount: i64) -> bool {
        let enough = |free: i64| (free >= amount).then(|| free - amount);
        let taken = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, enough)
            .is_ok();
        if taken {
            self.drawn.fetch_add(amount, Ordering::Relaxed);
        }
        taken
    }

    /// A request that had reserved so much used so much.
    pub(super) fn settle(&self, reserved: i64, used: i64) {
        self.spent.fetch_add(used, Ordering::AcqRel);
        self.free.fetch_add(reserved - used, Ordering::AcqRel);
    }

    pub(in crate::access) fn is_low(&self) -> bool {
        let free = self.free.load(Ordering::Relaxed);
        free < self.low.load(Ordering::Relaxed) || free < 0
    }

    // For the actor alone.

    pub(in crate::access) fn set_end(&self, ends_ms: i64) {
        self.ends_ms.store(ends_ms, Ordering::Relaxed);
    }

    /// All of it.
    pub(in crate::access) fn total(&self) -> i64 {
        self.total.load(Ordering::Acquire)
    }

    pub(in crate::access) fn free(&self) -> i64 {
        self.free.load(Ordering::Acquire)
    }

    /// More: `held` for requests that have it already, `free` for those to come.
    pub(in crate::access) fn grow(&self, held: i64, free: i64) {
        self.total.fetch_add(held + free, Ordering::AcqRel);
        self.free.fetch_add(free, Ordering::AcqRel);
    }

    /// Adds what was used beyond the share to it, so that it can be reported.
    pub(in crate::access) fn add_overdraft(&self) {
        let missing = -self.free.load(Ordering::Acquire).min(0);
        self.grow(0, missing);
    }

    /// Used elsewhere, and to be counted here.
    pub(in crate::access) fn charge(&self, debt: i64) {
        self.total.fetch_add(debt, Ordering::AcqRel);
        self.spent.fetch_add(debt, Ordering::AcqRel);
    }

    /// The base has it: it is no longer ours to report.
    pub(in crate::access) fn cover(&self, spent: i64) {
        self.spent.fetch_sub(spent, Ordering::AcqRel);
        self.total.fetch_sub(spent, Ordering::AcqRel);
    }

    /// Gives back what is free beyond `keep`, but no more than `most`.
    pub(in crate::access) fn shrink_to(&self, keep: i64, most: i64) {
        let mut gone = 0;
        let fewer = |free: i64| {
            gone = (free - keep).clamp(0, most.max(0));
            Some(free - gone)
        };
        // It cannot fail: the closure always has an answer.
        let _ = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer);
        self.total.fetch_sub(gone, Ordering::AcqRel);
    }

    pub(in crate::access) fn set_low(&self, low: i64) {
        self.low.store(low, Ordering::Relaxed);
    }

    /// What has been taken since the last call.
    pub(in crate::access) fn drawn(&self) -> i64 {
        self.drawn.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(i64),
        Settle(i64),
        Grow(i64),
        Shrink(i64),
        AddOverdraft,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..50_i64).prop_map(Step::Take),
            (0..90_i64).prop_map(Step::Settle),
            (0..100_i64).prop_map(Step::Grow),
            (0..100_i64).prop_map(Step::Shrink),
            Just(Step::AddOverdraft),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_parts_make_the_sum(steps in prop::collection::vec(step(), 0..60)) {
            let share = Share::new(0, i64::MAX);
            let mut reserved: Vec<i64> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(amount) => {
                        let had = share.free();
                        prop_assert_eq!(share.take(amount), had >= amount);
                        if had >= amount {
                            reserved.push(amount);
                        }
                    }
                    Step::Settle(used) => {
                        if let Some(amount) = reserved.pop() {
                            share.settle(amount, used);
                        }
                    }
                    Step::Grow(more) => share.grow(0, more),
                    Step::Shrink(keep) => share.shrink_to(keep, 40),
                    Step::AddOverdraft => {
                        share.add_overdraft();
                        prop_assert!(share.free() >= 0);
                    }
                }
                let held: i64 = reserved.iter().sum();
                prop_assert_eq!(share.total(), share.free() + share.spent() + held);
            }
        }
    }
}
