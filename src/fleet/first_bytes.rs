//! When first bytes come, for one model on one server: how long they usually take, and how many clients
//! in a row have left without one.
//!
//! Written by leases, without a message: an update that is lost to another at the same moment does no
//! harm to an estimate.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::faults::{LATE_IN_A_ROW, is_late, next_p95, worth_a_slot};

/// What has to be done before a first byte can come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    /// The model is loaded.
    pub(super) load: bool,
    /// All of the answer is computed: it is not streamed.
    pub(super) all: bool,
}

impl Before {
    /// A load, and a stream.
    pub(super) const LOAD: Self = Self {
        load: true,
        all: false,
    };
}

/// Each case apart.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    usual: [Estimate; 4],
    late: AtomicU32,
}

/// Nanoseconds; 0 while nothing is known.
#[derive(Debug, Default)]
struct Estimate(AtomicU64);

impl FirstBytes {
    /// A first byte has come after `waited`.
    pub(super) fn came(&self, waited: Duration, before: Before) {
        self.of(before).add(waited);
        if self.late.load(Ordering::Relaxed) != 0 {
            self.late.store(0, Ordering::Relaxed);
        }
    }

    /// A client has left after `waited` without one; says whether that was later than usual.
    pub(super) fn is_late(&self, waited: Duration, before: Before) -> bool {
        is_late(waited, self.of(before).get())
    }

    /// How long after it was sent a request whose client has left is taken to be computed.
    pub(super) fn worth_a_slot(&self, before: Before) -> Duration {
        worth_a_slot(self.of(before).get())
    }

    /// One more client has left late; says whether these are enough in a row to be evidence.
    pub(super) fn left_late(&self) -> bool {
        let enough = self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_IN_A_ROW;
        if enough {
            self.late.store(0, Ordering::Relaxed);
        }
        enough
    }

    /// How long a load usually takes here, up to the first byte.
    pub(super) fn usual_load(&self) -> Option<Duration> {
        let whole = Before {
            all: true,
            ..Before::LOAD
        };
        let streamed = self.of(Before::LOAD).get();
        streamed.or_else(|| self.of(whole).get())
    }

    fn of(&self, before: Before) -> &Estimate {
        &self.usual[usize::from(before.load) * 2 + usize::from(before.all)]
    }
}

impl Estimate {
    fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn add(&self, sample: Duration) {
        let next = next_p95(self.get(), sample).as_nanos();
        let next = u64::try_from(next).unwrap_or(u64::MAX).max(1);
        self.0.store(next, Ordering::Relaxed);
    }
}
