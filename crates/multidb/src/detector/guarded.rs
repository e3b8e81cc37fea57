//! Detectors may be a caller's, and run inside the failover actor. One that panics is not called any
//! more: its state is whatever the panic left of it, and a decision must be made without it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::time::Instant;

use super::FailureDetector;
use crate::outcome::FailureKind;

/// What this one says, unless it panics.
pub(crate) fn guarded(detector: Arc<dyn FailureDetector>) -> Arc<dyn FailureDetector> {
    Arc::new(Prototype(detector))
}

#[derive(Debug)]
struct Prototype(Arc<dyn FailureDetector>);

/// `None`: it panicked.
#[derive(Debug)]
struct Guarded(Option<Box<dyn FailureDetector>>);

impl Guarded {
    fn ask<T: Default>(&mut self, ask: impl FnOnce(&mut dyn FailureDetector) -> T) -> T {
        let Some(detector) = &mut self.0 else {
            return T::default();
        };
        catch_unwind(AssertUnwindSafe(|| ask(detector.as_mut()))).unwrap_or_else(|_| {
            tracing::error!("a failure detector panicked and is not asked any more");
            self.0 = None;
            T::default()
        })
    }
}

impl FailureDetector for Guarded {
    fn fresh(&self) -> Box<dyn FailureDetector> {
        let fresh = || self.0.as_ref().map(|detector| detector.fresh());
        Box::new(Self(catch_unwind(AssertUnwindSafe(fresh)).unwrap_or(None)))
    }

    fn succeeded(&mut self, count: u64, now: Instant) {
        self.ask(|detector| detector.succeeded(count, now));
    }

    fn failed(&mut self, kind: FailureKind, now: Instant) -> bool {
        self.ask(|detector| detector.failed(kind, now))
    }

    fn reset(&mut self) {
        self.ask(|detector| detector.reset());
    }
}

/// Only ever copied.
impl FailureDetector for Prototype {
    fn fresh(&self) -> Box<dyn FailureDetector> {
        let fresh = catch_unwind(AssertUnwindSafe(|| self.0.fresh()));
        Box::new(Guarded(fresh.ok()))
    }

    fn succeeded(&mut self, _: u64, _: Instant) {}

    fn failed(&mut self, _: FailureKind, _: Instant) -> bool {
        false
    }

    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics at the second failure.
    #[derive(Debug, Default)]
    struct Panicking(u32);

    impl FailureDetector for Panicking {
        fn fresh(&self) -> Box<dyn FailureDetector> {
            Box::new(Self::default())
        }

        fn succeeded(&mut self, _: u64, _: Instant) {}

        fn failed(&mut self, _: FailureKind, _: Instant) -> bool {
            self.0 += 1;
            assert!(self.0 < 2, "panicking");
            true
        }

        fn reset(&mut self) {}
    }

    #[test]
    fn a_detector_that_panics_is_ignored_and_its_copies_are_not() {
        let prototype = guarded(Arc::new(Panicking::default()));
        let (mut one, mut other) = (prototype.fresh(), prototype.fresh());
        let now = Instant::now();
        assert!(one.failed(FailureKind::Timeout, now));
        for _ in 0..3 {
            assert!(!one.failed(FailureKind::Timeout, now));
            one.succeeded(1, now);
            one.reset();
        }
        assert!(other.failed(FailureKind::Timeout, now));
    }
}
