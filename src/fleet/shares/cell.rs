//! What a pool of slots knows of this router's share in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use tokio::time::Instant;

use super::Handle;
use super::state::Asked;

/// No share of its own: the even one.
const EVEN: u32 = u32::MAX;

/// What holds for every pool. Written by the actor alone, read whenever a slot is taken.
#[derive(Debug)]
pub struct Rule {
    /// Among how many routers slots are divided; 0: this one has none of them yet.
    divides: AtomicU32,
    /// So many slots it may use whatever its share is.
    floor: u32,
    /// Nobody may know any more what it has.
    isolated: AtomicBool,
    begun: Instant,
    /// Until when all of this holds, in milliseconds after that. A process that stood still does not know what the
    /// ledger has done meanwhile.
    until: AtomicU64,
}

/// One pool's share.
#[derive(Debug)]
pub struct Cell {
    key: Arc<str>,
    share: AtomicU32,
    /// The actor wants to know when a slot comes back.
    watched: AtomicBool,
    /// It has been told, and has not looked yet.
    told: AtomicBool,
    /// A request found the share used up, and slots of the server free.
    short: AtomicBool,
    /// What has become of that, as [`Asked`] is numbered.
    asked: AtomicU8,
    shares: Handle,
}

// === impl Rule ===

impl Rule {
    /// Where it is not shared it holds for ever.
    pub(super) fn new(divides: u32, floor: u32) -> Self {
        Self {
            divides: AtomicU32::new(divides),
            floor,
            isolated: AtomicBool::new(false),
            begun: Instant::now(),
            until: AtomicU64::new(u64::MAX),
        }
    }

    /// It holds until then, unless it is said again. Says whether it did until now.
    pub(super) fn holds_until(&self, until: Instant) -> bool {
        let held = self.holds();
        let after = until.saturating_duration_since(self.begun).as_millis();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.until.store(after, Ordering::SeqCst);
        held
    }

    fn holds(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == u64::MAX || self.begun.elapsed().as_millis() < u128::from(until)
    }

    pub(super) fn divides(&self) -> i64 {
        i64::from(self.divides.load(Ordering::Relaxed))
    }

    pub(super) fn set_divides(&self, divides: u32) {
        self.divides.store(divides, Ordering::SeqCst);
    }

    pub(super) fn set_isolated(&self, isolated: bool) -> bool {
        self.isolated.swap(isolated, Ordering::SeqCst)
    }

    fn even(&self, slots: u32) -> u32 {
        slots
            .checked_div(self.divides.load(Ordering::Relaxed))
            .unwrap_or(0)
    }

    fn limit(&self, slots: u32, share: u32) -> u32 {
        let share = match share {
            EVEN => self.even(slots),
            share => share,
        };
        let share = match self.isolated.load(Ordering::Relaxed) {
            true => 0,
            false => share,
        };
        share.max(self.floor).min(slots)
    }
}

// === impl Cell ===

impl Cell {
    pub(super) fn new(key: Arc<str>, shares: Handle) -> Self {
        Self {
            key,
            share: AtomicU32::new(EVEN),
            watched: AtomicBool::new(false),
            told: AtomicBool::new(false),
            short: AtomicBool::new(false),
            asked: AtomicU8::new(Asked::No as u8),
            shares,
        }
    }

    /// Where it belongs.
    pub fn shares(&self) -> &Handle {
        &self.shares
    }

    /// What all routers call the pool.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// How many of the `slots` this router may use now.
    pub fn limit(&self, slots: u32) -> u32 {
        let share = self.share.load(Ordering::Relaxed);
        self.shares.rule().limit(slots, share)
    }

    /// The same for a slot that is taken now, of a process that may have stood still until now.
    pub fn limit_now(&self, slots: u32) -> u32 {
        match self.shares.rule().holds() {
            true => self.limit(slots),
            false => self.shares.rule().floor.min(slots),
        }
    }

    /// Whether more has been asked for.
    pub fn asked(&self) -> Asked {
        match self.asked.load(Ordering::SeqCst) {
            asked if asked == Asked::Now as u8 => Asked::Now,
            asked if asked == Asked::Known as u8 => Asked::Known,
            _ => Asked::No,
        }
    }

    /// A request found no slot within the share; says whether the actor is to be told.
    pub(super) fn found_short(&self) -> bool {
        self.set_asked(Asked::Now);
        self.short.store(true, Ordering::SeqCst);
        !self.told.swap(true, Ordering::SeqCst)
    }

    /// A slot has come back; says whether the actor is to be told.
    pub(super) fn came_back(&self) -> bool {
        self.watched.load(Ordering::SeqCst) && !self.told.swap(true, Ordering::SeqCst)
    }

    // Used by the actor alone.

    /// The actor looks at it: from here on it has to be told again.
    pub(super) fn looked_at(&self) {
        self.told.store(false, Ordering::SeqCst);
    }

    /// Whether a request has found it short since this was asked.
    pub(super) fn takes_short(&self) -> bool {
        self.short.swap(false, Ordering::SeqCst)
    }

    pub(super) fn set_asked(&self, asked: Asked) {
        self.asked.store(asked as u8, Ordering::SeqCst);
    }

    /// Nothing: the even share.
    pub(super) fn set_share(&self, share: Option<u32>) {
        self.share.store(share.unwrap_or(EVEN), Ordering::SeqCst);
    }

    pub(super) fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::SeqCst);
    }
}
