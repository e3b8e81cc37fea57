//! One pool of which this router has more or less than its even share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{NO_CAP, Report, narrow};

/// Whether more of a pool has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Asked {
    /// No, or there was more.
    #[default]
    No,
    /// It is being asked for.
    Now,
    /// The ledger has none for the moment. It knows that more is wanted, and gives it when there is some.
    Known,
}

/// What this router wants of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Its requests there.
    pub running: i64,
    /// Those that wait for the model.
    pub waiting: usize,
    /// Servers that have it in memory.
    pub warm: usize,
}

/// What there is to know and to change of a pool.
pub trait Pool: Clone {
    /// Requests of this router that run there.
    fn running(&self) -> i64;
    /// How many the server takes.
    fn slots(&self) -> i64;
    /// Whether a request found the share used up since this was asked.
    fn takes_short(&self) -> bool;
    /// What has become of that.
    fn set_asked(&self, asked: Asked);
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

    /// A request found it used up, or a slot has come back; says whether there is something to report.
    pub fn touch(&mut self) -> bool {
        let given = self.given;
        self.obey();
        if let Some(pool) = &self.pool
            && pool.takes_short()
        {
            self.short |= !self.is_lacking();
            if !self.short {
                pool.set_asked(Asked::Known);
            }
        }
        self.given > given || self.short
    }

    /// The ledger knows that more is wanted than this router has.
    pub fn is_lacking(&self) -> bool {
        self.demand.is_some_and(|demand| demand > self.share())
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
        if let Some(pool) = &self.pool {
            pool.set_asked(match self.is_lacking() {
                true => Asked::Known,
                false => Asked::No,
            });
        }
        (grown, self.given > given)
    }

    /// Looks what it is used for; says whether that is to be reported.
    pub fn look(
        &mut self,
        even: i64,
        now: Instant,
        want: &impl Fn(&P) -> Want,
        idle: Duration,
        reported: Duration,
    ) -> bool {
        let wanted = self.wanted(want);
        if wanted > 0 && wanted >= self.share() {
            self.busy = now;
        }
        let given = self.given;
        // Where there are more routers than slots no router keeps what it does not use.
        let is_rare = even == 0 && wanted == 0;
        let is_idle = is_rare || now.saturating_duration_since(self.busy) > idle;
        if is_idle && self.share() > even {
            self.come_down(even);
        }
        let is_even = wanted == 0 && self.share() == even && self.cap == NO_CAP;
        self.forgets = is_even && is_idle && self.demand.is_some();
        let since = now.saturating_duration_since(self.reported);
        let changed = self.is_news(wanted);
        // Of a pool that several want the one that has a slot keeps the account, rather than all those that lack it.
        let repeats = match wanted {
            0 => self.share() <= even,
            _ => self.share() > 0,
        };
        let repeated = repeats && since >= reported;
        given != self.given || changed || repeated || (self.forgets && is_rare)
    }

    /// Whether the ledger is to know it. How much a router lacks only weighs its part: nearly is good enough.
    fn is_news(&self, wanted: i64) -> bool {
        match self.demand {
            None => wanted > 0,
            Some(demand) if demand.min(wanted) > self.share() => {
                4 * (demand - wanted).abs() > demand
            }
            Some(demand) => demand != wanted,
        }
    }

    /// Of those that wait each pool has its part. What that leaves over is wanted where more was asked for.
    fn wanted(&self, want: &impl Fn(&P) -> Want) -> i64 {
        let want = self.pool.as_ref().map(want).unwrap_or_default();
        let part = match self.is_lacking() {
            true => want.waiting.div_ceil(want.warm.max(1)),
            false => want.waiting / want.warm.max(1),
        };
        want.running
            .saturating_add(i64::try_from(part).unwrap_or(i64::MAX))
    }

    pub fn report(
        &mut self,
        key: Arc<str>,
        even: i64,
        now: Instant,
        want: &impl Fn(&P) -> Want,
    ) -> Report {
        self.obey();
        self.short |= self.pool.as_ref().is_some_and(Pool::takes_short);
        let mut wanted = self.wanted(want);
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

    /// Nobody knows what was held: it is the even share, which is nothing to remember, or what runs. Says which.
    pub fn begin_anew(&mut self, even: i64) -> bool {
        let running = self.pool.as_ref().map_or(0, Pool::running);
        if running <= even {
            self.release();
            return false;
        }
        (self.base, self.granted, self.given) = (running, 0, 0);
        self.show();
        true
    }

    /// It is even again.
    pub fn release(&self) {
        if let Some(pool) = &self.pool {
            pool.set_asked(Asked::No);
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

    /// What is to be given back no request takes any more.
    fn show(&self) {
        if let Some(pool) = &self.pool {
            let most = match self.cap {
                NO_CAP => self.share(),
                cap => self.share().min(cap),
            };
            pool.set_share(Some(narrow(most.max(0))));
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
