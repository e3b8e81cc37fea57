//! The slots of one model on one server, counted by the leases themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::domain::ModelName;

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// One (server, model) pair: made when the server first lists the model, kept as long as the
/// endpoint, so that a restarted actor finds the true count.
#[derive(Debug)]
pub struct Seat {
    serial: u64,
    model: ModelName,
    slots: u32,
    taken: Arc<()>,
    failing: AtomicBool,
    used: AtomicBool,
}

impl Seat {
    pub(super) fn new(model: ModelName, slots: u32) -> Self {
        Self {
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            model,
            slots,
            taken: Arc::new(()),
            failing: AtomicBool::new(false),
            used: AtomicBool::new(false),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// How many requests may run at once.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// How many run now. Only the endpoint's actor adds to it, so a reader can at worst be late.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        count(&self.taken)
    }

    /// True while requests for this model fail on this server.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Never zero, unique in the process.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// True once a request has run here: worth showing, even at zero.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// One more request; dropping the token is one less.
    pub(super) fn take(&self) -> Arc<()> {
        self.used.store(true, Ordering::Relaxed);
        Arc::clone(&self.taken)
    }
}

/// How many clones of `token` are out.
pub(super) fn count(token: &Arc<()>) -> u32 {
    u32::try_from(Arc::strong_count(token).saturating_sub(1)).unwrap_or(u32::MAX)
}
