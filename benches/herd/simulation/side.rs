//! One router's side of a pool, as `fleet::SlotPool` and its share have it.

use std::cell::Cell;
use std::rc::Rc;

use herdsman::fleet::{Asked, SharePool};
use herdsman::routing::Candidate;

/// What holds for all pools of a router.
#[derive(Debug, Default)]
pub struct Rule {
    /// Among how many routers slots are divided.
    pub divides: Cell<u32>,
    /// Nobody may know any more that the router is there.
    pub isolated: Cell<bool>,
    /// So many it may have in any case.
    pub floor: u32,
}

/// One router's side of a pool.
#[derive(Debug)]
pub struct Side {
    /// Which pool.
    pub pool: usize,
    /// Of which model.
    pub model: usize,
    /// How many slots the server has for it.
    pub slots: u32,
    /// Requests of this router there.
    pub running: Cell<u32>,
    share: Cell<Option<u32>>,
    watched: Cell<bool>,
    short: Cell<bool>,
    asked: Cell<Asked>,
    rule: Rc<Rule>,
}

/// One server that has a model, as the ranking sees it.
#[derive(Debug)]
pub struct Holder {
    /// The pool.
    pub side: Rc<Side>,
    /// Requests of this router on that server.
    pub on_server: Rc<Cell<u32>>,
}

impl Side {
    /// Of a router with this rule.
    pub fn new(pool: usize, model: usize, slots: u32, rule: Rc<Rule>) -> Self {
        Self {
            pool,
            model,
            slots,
            running: Cell::new(0),
            share: Cell::new(None),
            watched: Cell::new(false),
            short: Cell::new(false),
            asked: Cell::default(),
            rule,
        }
    }

    /// How many requests of this router may run there.
    pub fn limit(&self) -> u32 {
        let even = || self.slots.checked_div(self.rule.divides.get()).unwrap_or(0);
        let share = match self.rule.isolated.get() {
            true => 0,
            false => self.share.get().unwrap_or_else(even),
        };
        share.max(self.rule.floor).min(self.slots)
    }

    /// Whether more has been asked for; nothing where that makes no sense.
    pub fn asked(&self) -> Option<Asked> {
        let running = self.running.get();
        let is_short = running < self.slots && running >= self.limit();
        is_short.then(|| self.asked.get())
    }

    /// More is asked for.
    pub fn ask(&self) {
        self.short.set(true);
        self.asked.set(Asked::Now);
    }

    /// Whether the shares are told when a slot comes back.
    pub fn is_watched(&self) -> bool {
        self.watched.get()
    }
}

/// What the shares see of it.
#[derive(Clone, Debug)]
pub struct Shown(pub Rc<Side>);

impl SharePool for Shown {
    fn running(&self) -> i64 {
        i64::from(self.0.running.get())
    }

    fn slots(&self) -> i64 {
        i64::from(self.0.slots)
    }

    fn takes_short(&self) -> bool {
        self.0.short.replace(false)
    }

    fn set_asked(&self, asked: Asked) {
        self.0.asked.set(asked);
    }

    fn set_share(&self, share: Option<u32>) {
        self.0.share.set(share);
    }

    fn set_watched(&self, watched: bool) {
        self.0.watched.set(watched);
    }
}

impl Candidate for Holder {
    fn is_up(&self) -> bool {
        true
    }

    fn in_flight(&self) -> u32 {
        self.side.running.get()
    }

    fn slots(&self) -> u32 {
        self.side.limit()
    }

    fn total_in_flight(&self) -> u32 {
        self.on_server.get()
    }

    fn weight(&self) -> f64 {
        1.0
    }

    fn is_failing(&self) -> bool {
        false
    }

    fn is_suspected(&self) -> bool {
        false
    }

    fn is_refusing(&self) -> bool {
        false
    }

    fn is_loading_other(&self) -> bool {
        false
    }
}
