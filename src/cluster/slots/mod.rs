//! The one rule by which routers share the slots of servers.
//!
//! A *pool* is the slots of one model on one server. Of each pool every router has a *share*: so many requests it
//! may run there without asking anyone. As long as nobody needs more than its even share, nothing is written
//! anywhere: with R routers and S slots each has `S / R` (rounded down) of every pool, its *base*, and the
//! [`Ledger`] does not know the pool. A router that needs more reports the pool; from then on the ledger knows who
//! has how much of it, gives what is free, and asks for what others do not need, or have too much of.
//!
//! `held = base + granted - given`: what a router began with, all it has ever been granted, all it has ever given
//! back. The ledger counts `granted`, the router counts `given`, and both only grow. So a call or a reply that is
//! lost, repeated or overtaken changes nothing: whoever knows less has less, and the sum of all shares is at most
//! the number of slots.
//!
//! Where more is wanted than there is, each router's part is that of its requests (those that run and those that
//! wait) in all requests. What that leaves over in whole slots goes to whom it was owed longest: a credit
//! counts the slots a router should have had against those it had. So of one slot and three routers each has it a
//! third of the time.
//!
//! What it does about trouble:
//! - A router that does not report for [`Terms::hold_ms`] is taken for stopped, and its share is free, unless
//!   others see in the database that it is there: then it is cut off from the ledger, and keeps what it has.
//! - A router that comes back after that is new: it has what it says it has, and comes down from there.
//! - A new router has no base until all others divide by the new number. When there are fewer, each asks before it
//!   divides by the smaller number, and is told of every pool that was given away under the larger one.
//! - A ledger that may have forgotten somebody gives nothing until all who are known have told it all they have,
//!   or [`Terms::min_age_ms`] have passed.
//!
//! The rule is written twice, here and in `rule.lua`: routers that share must decide in one place, which is
//! Redis, and the simulation of many routers needs no Redis. A property test holds the two equal.

mod division;
mod ledger;
mod redis;

use std::sync::Arc;
use std::time::Duration;

pub use self::redis::{Failure, RedisLedger, Shared};
pub use ledger::{Answer, Ledger};

/// What all routers must agree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A router that has not reported for so long has nothing any more.
    pub hold_ms: i64,
    /// Unless somebody has seen it in the database since then.
    pub seen_ms: i64,
    /// After so long a ledger gives, whoever may not have reported to it.
    pub min_age_ms: i64,
}

/// What they agree about. The registration in the database ends when the hold does.
pub const TERMS: Terms = Terms {
    hold_ms: 10_000,
    seen_ms: 5_000,
    min_age_ms: 5_000,
};

/// A share that need not come down.
pub const NO_CAP: i64 = -1;

/// How long the ledger may take to answer before it counts as away.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(500);

/// Notices in one reply, at most.
pub const NOTICES: usize = 256;

/// What a router reports of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which pool.
    pub key: Arc<str>,
    /// How many slots the server has for the model.
    pub slots: i64,
    /// What the router began with.
    pub base: i64,
    /// All it knows to have been granted.
    pub granted: i64,
    /// All it has given back.
    pub given: i64,
    /// Its requests that run there, and its part of those that wait.
    pub demand: i64,
    /// It has its even share again, and nothing to say about the pool any more.
    pub forget: bool,
}

/// A router's call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Which run of this router: later ones are greater.
    pub run: i64,
    /// Which call of that run: later ones are greater.
    pub number: i64,
    /// The ledger to which it has told all it has, by when that was created.
    pub born: Option<i64>,
    /// Among how many routers it divides pools that it has not heard of; 0: it has nothing of those.
    pub divides: i64,
    /// It would divide among as many as there are.
    pub asks: bool,
    /// The other routers that the database knows to be there; nothing while it does not say.
    pub others: Option<Vec<Arc<str>>>,
    /// It ends, and has nothing any more.
    pub leaves: bool,
    /// Pools, each once.
    pub reports: Vec<Report>,
}

/// What became of one pool that was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// All that was ever granted to the router.
    pub granted: i64,
    /// It must come down to so much as its requests end; [`NO_CAP`]: it need not.
    pub cap: i64,
    /// The ledger does not know the router's share any more: it is the even one.
    pub forgotten: bool,
}

/// What another router's call has changed of this one's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which pool.
    pub key: Arc<str>,
    /// How many slots it has, as somebody has reported.
    pub slots: i64,
    /// What the router began with, if it has not said so itself.
    pub base: i64,
    /// As in [`Part`].
    pub granted: i64,
    /// As in [`Part`].
    pub cap: i64,
}

/// The ledger's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// When the ledger was created, in its own milliseconds.
    pub born: i64,
    /// Routers there are, this one included.
    pub routers: i64,
    /// Among how many the caller may divide, once it knows all notices; 0 where it did: it was forgotten, and is to
    /// tell everything again.
    pub divides: i64,
    /// Whether the ledger knows of everybody, and gives.
    pub gives: bool,
    /// For each report.
    pub parts: Vec<Part>,
    /// About other pools, until the router reports them.
    pub notices: Vec<Notice>,
    /// There are more of those.
    pub more: bool,
}
