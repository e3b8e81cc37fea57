//! The one rule by which routers share what is limited.
//!
//! A [`Meter`](MeterReport) is anything of which there is only so much: requests of a minute, tokens of a
//! minute, requests at once, money of a period. Each router holds a *part* of it, out of which it
//! serves requests without asking anyone, and tells the ledger about it again and again: how much of
//! its part is *spent* and how much is *held* (reserved by requests that run, or kept ready for the
//! next ones). What nobody spent and nobody holds is free, and is all that may be given:
//!
//! `free = limit − base − Σ (spent + held) over all routers`
//!
//! Every report is absolute, never a difference. So a report that is lost, repeated or overtaken
//! does no harm, a ledger that was wiped is complete again after every router has reported once, and
//! nothing can leak: what a router does not report, it does not hold.
//!
//! The rule is written twice, here and in `rule.lua`, because routers that share must decide in one
//! place, which is Redis, and a router without Redis decides by itself. A property test holds the two
//! equal. Both are pure in the sense that matters: the time is an input (in Redis, its own clock),
//! and nothing else is.
//!
//! What it does about trouble:
//! - A router that does not report for [`Terms::hold_ms`] is taken for stopped: what it held is free,
//!   what it spent stays spent, until the base (what the database knows) must have it.
//! - A ledger newer than [`Terms::min_age_ms`] may have forgotten somebody, so it gives nothing until
//!   everybody had the time to report; and somebody who has more to tell than fits into one call says
//!   so, and is waited for up to [`Terms::hold_ms`].
//! - A ledger is created when it is empty, and counts as created *again* when it may have missed something: when nobody
//!   has reported to it for as long as anybody is remembered (it was abandoned for another one), and
//!   when somebody reports who has meanwhile reported to a ledger created later (and returns from it).
//!   That is how a return to a Redis that was away is told from one that was always in use.
//! - A window that has passed begins again from nothing. One that has not begun yet by the ledger's
//!   clock does not begin because some router's clock is ahead; one that lies ahead of the ledger's
//!   own clock is left, because that clock was set back.

mod ledger;
mod redis;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use ledger::Ledger;
pub use redis::{Failure, RedisLedger, Shared};

/// The largest number the rule computes exactly: what a double holds exactly.
pub const MOST: i64 = crate::domain::MOST_NANO_USD;

/// What all routers of a fleet must agree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A router that has not reported for so long holds nothing any more.
    pub hold_ms: i64,
    /// A newer ledger gives nothing.
    pub min_age_ms: i64,
    /// What a stopped router spent is forgotten when the base is so much newer than its last report.
    pub forget_ms: i64,
}

/// Which window a meter counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// One for ever: requests at once.
    Always,
    /// One after the other, each so many milliseconds, by the ledger's clock.
    Each(i64),
    /// Those of a budget: it began at this Unix second.
    Since(i64),
}

/// One meter in a call: what the router reports of it, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterReport {
    /// Which meter.
    pub key: Arc<str>,
    /// How much of it there is.
    pub limit: i64,
    /// Which window the caller means.
    pub window: Window,
    /// What the database knows to be spent in that window, and when (in milliseconds of the ledger's
    /// clock) it was asked; -1 is never.
    pub base: (i64, i64),
    /// The window that [`MeterReport::spent`] and [`MeterReport::held`] are about, as [`Part::window`] gave it; -1
    /// for none. In any other window they count for nothing.
    pub of: i64,
    /// What of its part the router has spent, beyond the base.
    pub spent: i64,
    /// What of its part it still holds.
    pub held: i64,
    /// What it asks for in advance, for requests to come.
    pub prefetch: i64,
}

/// A request that waits for an answer: amounts of the meters of the call, by their place in it. It
/// gets all of them or none.
pub type Need = Vec<(usize, i64)>;

/// A router's report, and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Each meter once.
    pub reports: Vec<MeterReport>,
    /// In the order in which they came.
    pub needs: Vec<Need>,
    /// When the ledger was created that answered the router last.
    pub known_created_ms: Option<i64>,
    /// There is more than this to tell a ledger that has forgotten it.
    pub more: bool,
}

/// What became of one need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is the router's now.
    Given,
    /// There is not enough of the meter in this place.
    Short(usize),
    /// The ledger is too new to know.
    TooNew,
}

/// What became of one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The window that counts, as a number: when it began, in its own unit.
    pub window: i64,
    /// How much was given beyond the needs.
    pub extra: i64,
    /// How much is free now; negative when more was spent than there is.
    pub free: i64,
    /// The newest base any router has reported: amount and time.
    pub base: (i64, i64),
}

/// The ledger's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The ledger's clock, in Unix milliseconds.
    pub now_ms: i64,
    /// Routers that reported lately, the caller included.
    pub routers: i64,
    /// When the ledger was created: another value than last time means that it has forgotten everything.
    pub created_ms: i64,
    /// It gives nothing yet.
    pub is_new: bool,
    /// For each need.
    pub verdicts: Vec<Verdict>,
    /// For each report.
    pub parts: Vec<Part>,
}

/// Entries by the router that made them.
type Entries = BTreeMap<Arc<str>, Entry>;

/// What one router last said of one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    spent: i64,
    held: i64,
    seen_ms: i64,
}
