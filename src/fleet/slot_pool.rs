//! The slots of one model on one server, counted by those who hold them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::first_bytes::FirstBytes;
use super::hold::Hold;
use super::refusals::Refusals;
use super::shares;
use crate::domain::ModelName;
use crate::faults::Closed;

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// The slots of one (server, model) pair: made when the server first lists the model, kept as long as the
/// endpoint, so that a restarted actor finds the true count.
///
/// While the model is loaded and works there is nothing to decide about a slot but whether one is
/// left: the endpoint's actor has then made the pool *direct*, and requests take slots themselves. Whatever
/// must be decided once (a load, a trial after failures) goes through the actor.
#[derive(Debug)]
pub struct SlotPool {
    serial: u64,
    model: ModelName,
    /// The name in the server's own spelling.
    spelling: ArcSwap<String>,
    slots: AtomicU32,
    /// How many of them requests of this router may use.
    share: shares::Cell,
    taken: AtomicU32,
    /// Requests of other routers, as far as is known.
    elsewhere: AtomicU32,
    /// Of those, the ones without a first byte yet.
    waiting: AtomicU32,
    direct: AtomicBool,
    failing: AtomicBool,
    /// Notified when it begins to fail.
    blame: Notify,
    /// No request would get a slot now, whatever is free.
    refusing: AtomicBool,
    /// The pause that the server has asked for.
    closed: ArcSwapOption<Closed>,
    /// Its pause after failures is over: a stream that delivers would close its breaker.
    half_open: AtomicBool,
    /// Requests that it has failed, of which it is not known yet whether the fault is theirs.
    suspicions: AtomicU32,
    /// A request has told the server to unload the model, which it does when nothing uses it any more.
    unloading: AtomicBool,
    /// How often requests have had it unloaded.
    unloads: AtomicU64,
    used: AtomicBool,
    /// Whether an operator lets it take new requests.
    hold: Hold,
    first_bytes: FirstBytes,
    refusals: Refusals,
}

/// A request has failed on this pool, and other servers are being tried: until it is known whose fault it
/// is, servers without such a failure are preferred.
#[derive(Debug)]
#[must_use]
pub struct Suspicion(Arc<SlotPool>);

impl SlotPool {
    pub(super) fn new(model: ModelName, spelling: &str, slots: u32, share: shares::Cell) -> Self {
        Self {
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            model,
            spelling: ArcSwap::from_pointee(spelling.to_owned()),
            slots: AtomicU32::new(slots),
            share,
            taken: AtomicU32::new(0),
            elsewhere: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            direct: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            blame: Notify::new(),
            refusing: AtomicBool::new(false),
            closed: ArcSwapOption::empty(),
            half_open: AtomicBool::new(false),
            suspicions: AtomicU32::new(0),
            unloading: AtomicBool::new(false),
            unloads: AtomicU64::new(0),
            used: AtomicBool::new(false),
            hold: Hold::default(),
            first_bytes: FirstBytes::default(),
            refusals: Refusals::new(Instant::now()),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// The model as the server spells it.
    #[must_use]
    pub fn spelling(&self) -> Arc<String> {
        self.spelling.load_full()
    }

    /// The server spells it like this now. Set by the registry alone.
    pub(super) fn set_spelling(&self, spelling: &str) {
        if **self.spelling.load() != *spelling {
            self.spelling.store(Arc::new(spelling.to_owned()));
        }
    }

    /// How many requests of all routers may run at once.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.load(Ordering::Relaxed)
    }

    /// Changes how many may run at once; those that run already go on. Set by the registry alone.
    pub(super) fn set_slots(&self, slots: u32) {
        self.slots.store(slots, Ordering::Relaxed);
    }

    /// How many requests of this router may run at once now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.share.limit(self.slots())
    }

    /// What this router has of it.
    pub(super) fn share(&self) -> &shares::Cell {
        &self.share
    }

    /// Whether more has been asked for, if the server may have slots left and this router has none of them.
    pub(super) fn asked(&self) -> Option<shares::Asked> {
        let taken = self.in_flight();
        let is_short = taken < self.slots() && taken >= self.limit();
        is_short.then(|| self.share.asked())
    }

    /// Has more asked for.
    pub(super) fn ask(self: &Arc<Self>) {
        self.share.shares().short(self);
    }

    /// How many run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Set by the actor that follows the other routers alone; says what was set before.
    pub(super) fn set_elsewhere(&self, count: u32) -> u32 {
        self.elsewhere.swap(count, Ordering::Relaxed)
    }

    /// How many of those still wait for the first byte of their answer.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether requests take slots directly, without a message to the actor. Set by the endpoint's actor alone.
    pub(super) fn set_direct(&self, direct: bool) {
        self.direct.store(direct, Ordering::Relaxed);
    }

    /// A slot, if slots are taken directly and one is left.
    pub(super) fn take_directly(self: &Arc<Self>) -> Option<Taken> {
        if self.direct.load(Ordering::Relaxed) {
            self.take()
        } else {
            None
        }
    }

    /// A slot, if fewer are taken than this router may.
    pub(super) fn take(self: &Arc<Self>) -> Option<Taken> {
        self.take_if(|taken| taken < self.share.limit_now(self.slots()))
    }

    fn take_if(self: &Arc<Self>, free: impl Fn(u32) -> bool) -> Option<Taken> {
        let one_more = |taken| free(taken).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more)
            .ok()?;
        if !self.was_used() {
            self.used.store(true, Ordering::Relaxed);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Taken {
            pool: Arc::clone(self),
            waits: true,
        })
    }

    /// True while requests for this model fail on this server.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// True while a request that failed here is being tried elsewhere.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.suspicions.load(Ordering::Relaxed) > 0
    }

    /// True while it gives no slot, whatever is free: a trial is running, the server has asked for a
    /// pause, or another model's load holds it.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// Set by the endpoint's actor alone.
    pub(super) fn set_refusing(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::Relaxed);
    }

    /// The pause that the server has asked for: until then it gives no slot, whatever else happens.
    pub(super) fn closed(&self) -> Option<Closed> {
        self.closed.load().as_deref().copied()
    }

    /// Set by the endpoint's actor alone; says whether it is another one.
    pub(super) fn set_closed(&self, closed: Option<Closed>) -> bool {
        if self.closed() == closed {
            return false;
        }
        self.closed.store(closed.map(Arc::new));
        true
    }

    /// A request has failed here.
    pub fn suspect(self: &Arc<Self>) -> Suspicion {
        self.suspicions.fetch_add(1, Ordering::Relaxed);
        Suspicion(Arc::clone(self))
    }

    /// Whether a stream that delivers is news to the endpoint's actor: true once, until it is so again.
    pub(super) fn takes_delivery(&self) -> bool {
        self.half_open.load(Ordering::Relaxed) && self.half_open.swap(false, Ordering::Relaxed)
    }

    /// Returns when it fails, or has not worked since it did.
    pub(super) async fn blamed(&self) {
        let blame = self.blame.notified();
        if !self.is_failing() && !self.half_open.load(Ordering::Relaxed) {
            blame.await;
        }
    }

    /// Set by the endpoint's actor alone.
    pub(super) fn set_half_open(&self, half_open: bool) {
        self.half_open.store(half_open, Ordering::Relaxed);
    }

    /// How often requests of this router have had it unloaded.
    #[must_use]
    pub fn unloads(&self) -> u64 {
        self.unloads.load(Ordering::Relaxed)
    }

    pub(super) fn count_unload(&self) {
        self.unloads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_unloading(&self) {
        self.unloading.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_unloading(&self) -> bool {
        self.unloading.load(Ordering::Relaxed)
    }

    /// Whether the server unloads the model now: true once. Of requests that end together, the last one sees what
    /// those before it have set.
    pub(super) fn takes_unload(&self) -> bool {
        self.taken.load(Ordering::Acquire) == 0
            && self.is_unloading()
            && self.unloading.swap(false, Ordering::Relaxed)
    }

    /// Whether an operator lets it take new requests.
    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// When first bytes come here.
    pub(super) fn first_bytes(&self) -> &FirstBytes {
        &self.first_bytes
    }

    pub(super) fn set_failing(&self, failing: bool) {
        if !self.failing.swap(failing, Ordering::Relaxed) && failing {
            self.blame.notify_waiters();
        }
    }

    /// What the server refuses for this model.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Never zero, unique in the process.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// True once a request has run here: worth showing, even at zero.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }
}

/// One slot of a pool; dropping it gives it back.
#[derive(Debug)]
pub struct Taken {
    pool: Arc<SlotPool>,
    waits: bool,
}

impl Taken {
    /// Whose slot it is.
    pub(super) fn pool(&self) -> &Arc<SlotPool> {
        &self.pool
    }

    /// The first byte of the answer is there.
    pub(super) fn first_byte(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.first_byte();
        self.pool.taken.fetch_sub(1, Ordering::SeqCst);
        self.pool.share.shares().came_back(&self.pool);
    }
}

// === impl Suspicion ===

impl Suspicion {
    /// Where it failed.
    #[must_use]
    pub fn pool(&self) -> &Arc<SlotPool> {
        &self.0
    }
}

impl Drop for Suspicion {
    fn drop(&mut self) {
        self.0.suspicions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many clones of `token` there are.
pub(super) fn count(token: &Arc<()>) -> u32 {
    u32::try_from(Arc::strong_count(token).saturating_sub(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
impl SlotPool {
    /// Of a router that shares with nobody.
    pub(super) fn alone(model: &str, slots: u32) -> Arc<Self> {
        let share = shares::Handle::default().cell(String::new);
        let name = ModelName::parse(model).unwrap();
        Arc::new(Self::new(name, model, slots, share))
    }

    /// A slot, however many are taken.
    pub(super) fn take_any(self: &Arc<Self>) -> Option<Taken> {
        self.take_if(|_| true)
    }
}
