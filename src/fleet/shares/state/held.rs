//! One pool of which this router has more or less than its even share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{NO_CAP, Report, narrow};

/// What there is to know and to change of a pool.
pub trait Pool: Clone {
    /// Requests of this router that run there.
    fn running(&self) -> i64;
    /// How many the server takes.
    fn slots(&self) -> i64;
    /// Whether a request found the share used up since this was asked.
    fn takes_short(&self) -> bool;
    /// How many this router may run; nothing: the even share.
    fn set_share(&self, share: Option<u32>);
    /// Whether it is to be told when a slot comes back.
    fn set_watched(&self, watched: bool);
}

#[derive(Debug)]
pub struct Held<P> {
    /// Nothing where this router does not have the server.
    pool: Option<P>,
    slots: i64,
    base: i64,
    granted: i64,
    given: i64,
    cap: i64,
    /// What was reported last, and when.
    demand: Option<i64>,
    reported: Instant,
    /// When it was last used up.
    busy: Instant,
    /// A request found it used up.
    short: bool,
    /// The next report may say that it is even.
    forgets: bool,
}

impl<P: Pool> Held<P> {
    pub fn new(pool: Option<P>, slots: i64, base: i64, now: Instant) -> Self {
        let held = Self {
            pool,
            slots,
            base,
            granted: 0,
            given: 0,
            cap: NO_CAP,
            demand: None,
            reported: now,
            busy: now,
            short: false,
            forgets: false,
        };
        held.show();
        held
    }

    pub fn stand(&mut self, pool: P) {
        self.pool = Some(pool);
        self.show();
    }

    /// What every router has of it that is not known to the ledger.
    pub fn even(&self, divides: i64) -> i64 {
        self.slots().checked_div(divides).unwrap_or(0)
    }

    /// Gives back what is above the cap and not in use.
    pub fn obey(&mut self) {
        if self.cap != NO_CAP {
            // Before it is looked at what is in use: what comes back after that is told.
            self.watch();
            self.come_down(self.cap);
        }
    }

    /// The ledger's answer; says whether there is more now, and whether there is something to report.
    pub fn answer(&mut self, granted: i64, cap: i64, now: Instant) -> (bool, bool) {
        let (before, given) = (self.share(), self.given);
        self.granted = self.granted.max(granted);
        self.cap = cap;
        self.show();
        self.obey();
        self.watch();
        let grown = self.share() > before;
        if grown {
            self.busy = now;
        }
        (grown, self.given > given)
    }

    /// Looks what it is used for; says whether that is to be reported.
    pub fn look(
        &mut self,
        even: i64,
        now: Instant,
        demand: &impl Fn(&P) -> i64,
        idle: Duration,
        reported: Duration,
    ) -> bool {
        let wanted = self.pool.as_ref().map_or(0, demand);
        if wanted > 0 && wanted >= self.share() {
            self.busy = now;
        }
        let given = self.given;
        let is_idle = now.saturating_duration_since(self.busy) > idle;
        if is_idle && self.share() > even {
            self.come_down(even);
        }
        self.forgets =
            is_idle && self.share() == even && self.cap == NO_CAP && self.demand.is_some();
        let since = now.saturating_duration_since(self.reported);
        let changed = self.demand != Some(wanted) && (wanted > 0 || self.demand != Some(0));
        given != self.given || changed || since >= reported
    }

    pub fn report(
        &mut self,
        key: Arc<str>,
        even: i64,
        now: Instant,
        demand: &impl Fn(&P) -> i64,
    ) -> Report {
        self.obey();
        self.short |= self.pool.as_ref().is_some_and(Pool::takes_short);
        let mut wanted = self.pool.as_ref().map_or(0, demand);
        if std::mem::take(&mut self.short) {
            wanted = wanted.max(self.share() + 1).min(wanted.max(self.slots()));
        }
        self.demand = Some(wanted);
        self.reported = now;
        Report {
            key,
            slots: self.slots(),
            base: self.base,
            granted: self.granted,
            given: self.given,
            demand: wanted,
            forget: std::mem::take(&mut self.forgets) && wanted == 0 && self.share() == even,
        }
    }

    /// It is even again.
    pub fn release(&self) {
        if let Some(pool) = &self.pool {
            pool.set_watched(false);
            pool.set_share(None);
        }
    }

    fn share(&self) -> i64 {
        self.base + self.granted - self.given
    }

    fn slots(&self) -> i64 {
        self.pool.as_ref().map_or(self.slots, Pool::slots)
    }

    /// Keeps what is in use. The pool is shown the smaller share first: who takes a slot meanwhile is seen after that.
    fn come_down(&mut self, to: i64) {
        let running = self.pool.as_ref().map_or(0, Pool::running);
        let share = self.share();
        let less = to.max(running).min(share);
        if less == share {
            return;
        }
        self.given += share - less;
        self.show();
        let running = self.pool.as_ref().map_or(0, Pool::running);
        if running > less {
            self.given -= running.min(share) - less;
            self.show();
        }
        self.watch();
    }

    fn show(&self) {
        if let Some(pool) = &self.pool {
            pool.set_share(Some(narrow(self.share().max(0))));
        }
    }

    fn watch(&self) {
        if let Some(pool) = &self.pool {
            pool.set_watched(self.cap != NO_CAP && self.share() > self.cap);
        }
    }
}

/// As the ledger counts.
pub fn number(count: u32) -> i64 {
    i64::from(count)
}
