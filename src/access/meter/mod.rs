//! One limit of one account, as the requests of this router meet it.
//!
//! A [`Cell`] lives as long as its limit is in the view of all accounts, so a request finds it by
//! following a pointer. In it is this router's [`Share`] of what the limit allows, out of which a
//! request takes with one atomic operation; who refills it is the [`sharing`](super::sharing) actor,
//! the only one to replace a share or to change how large it is.

mod share;
mod taken;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

pub use share::Share;
pub use taken::Taken;

use super::rule::Window;
use crate::domain::{AccountKind, ModelName, Period};

/// A minute, in milliseconds.
const MINUTE: i64 = 60_000;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Requests of a minute.
    Requests,
    /// Tokens of a minute.
    Tokens,
    /// Requests at once.
    Parallel,
    /// Nano-USD of a period that began with the account, or with the month.
    Money {
        /// When the account was made.
        created: i64,
        /// When it begins anew.
        period: Period,
    },
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The kind of the account.
    pub kind: AccountKind,
    /// Its id.
    pub id: Arc<str>,
    /// The model, where the limit is about one.
    pub model: Option<ModelName>,
}

/// What the database knows to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// In the period that began then.
    pub window: i64,
    /// So much.
    pub amount: i64,
    /// Asked at this moment of the ledger's clock, in milliseconds; -1 is never.
    pub at_ms: i64,
}

/// See the module.
pub struct Cell {
    key: Arc<str>,
    owner: Owner,
    what: What,
    limit: AtomicI64,
    base: ArcSwap<Base>,
    share: ArcSwapOption<Share>,
    /// Used when there was no share to take it from: counted with the next one.
    debt: AtomicI64,
    /// The actor has been notified and has not handled it yet.
    notified: AtomicBool,
    /// Until this moment of the local clock, so much or more need not be asked for.
    short_until: AtomicI64,
    short_of: AtomicI64,
}

impl Cell {
    /// An unused limit.
    #[must_use]
    pub fn new(owner: Owner, what: What, limit: i64) -> Self {
        Self {
            key: key_of(&owner, what).into(),
            owner,
            what,
            limit: AtomicI64::new(limit),
            base: ArcSwap::from_pointee(Base {
                window: 0,
                amount: 0,
                at_ms: -1,
            }),
            share: ArcSwapOption::empty(),
            debt: AtomicI64::new(0),
            notified: AtomicBool::new(false),
            short_until: AtomicI64::new(i64::MIN),
            short_of: AtomicI64::new(i64::MAX),
        }
    }

    /// Its name in the ledger: the same on every router, and another one when what it counts
    /// changes its meaning.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What it limits.
    #[must_use]
    pub fn what(&self) -> What {
        self.what
    }

    /// How much there is.
    #[must_use]
    pub fn limit(&self) -> i64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// From now on there is so much.
    pub fn set_limit(&self, limit: i64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.short_until.store(i64::MIN, Ordering::Relaxed);
    }

    /// The window it counts in at this Unix second.
    #[must_use]
    pub fn window(&self, unix: i64) -> Window {
        match self.what {
            What::Requests | What::Tokens => Window::Each(MINUTE),
            What::Parallel => Window::Always,
            What::Money { created, period } => Window::Since(period.start(created, unix)),
        }
    }

    /// When the window is over that counts at this Unix second, in milliseconds from then.
    #[must_use]
    pub fn rest_ms(&self, unix_ms: i64) -> Option<i64> {
        match self.what {
            What::Requests | What::Tokens => Some(MINUTE - unix_ms.rem_euclid(MINUTE)),
            What::Parallel => None,
            What::Money { created, period } => period
                .next(created, unix_ms.div_euclid(1_000))
                .map(|next| next * 1_000 - unix_ms),
        }
    }

    /// What the database knows about the period that began at `window`.
    #[must_use]
    pub fn base(&self, window: Window) -> (i64, i64) {
        let Window::Since(start) = window else {
            return (0, 0);
        };
        let base = **self.base.load();
        if base.window == start {
            (base.amount, base.at_ms)
        } else if base.at_ms >= 0 && start > base.window {
            // It has begun since: then nothing had been spent in it.
            (0, start.saturating_mul(1_000))
        } else {
            (0, -1)
        }
    }

    /// The database has been asked.
    pub fn set_base(&self, base: Base) {
        self.base.store(Arc::new(base));
    }

    /// Takes `amount` out of this router's share; `None` when that cannot be decided here.
    pub fn take(self: &Arc<Self>, amount: i64, now_ms: i64) -> Option<Taken> {
        let share = self.share.load_full()?;
        (!share.is_over(now_ms) && share.take(amount))
            .then(|| Taken::new(Arc::clone(self), share, amount))
    }

    /// Whether it is known, from an answer a moment ago, that there is not so much.
    #[must_use]
    pub fn is_short(&self, amount: i64, now_ms: i64) -> bool {
        amount > self.limit()
            || (now_ms < self.short_until.load(Ordering::Relaxed)
                && amount >= self.short_of.load(Ordering::Relaxed))
    }

    /// True when the actor should be notified and has not been yet.
    #[must_use]
    pub fn should_notify(&self) -> bool {
        let is_low = self
            .share
            .load()
            .as_ref()
            .is_none_or(|share| share.is_low());
        let has_debt = self.debt.load(Ordering::Relaxed) > 0;
        (is_low || has_debt) && !self.notified.swap(true, Ordering::AcqRel)
    }

    /// True when this router has a share of it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.share.load().is_some()
    }

    /// True when this router has spent of it what it does not know to be in the base.
    #[must_use]
    pub fn has_spent(&self) -> bool {
        let share = self.share.load();
        share.as_ref().is_some_and(|share| share.spent() != 0)
    }

    // For the actor alone.

    pub(super) fn share(&self) -> Option<Arc<Share>> {
        self.share.load_full()
    }

    pub(super) fn set_share(&self, share: Option<Arc<Share>>) {
        self.share.store(share);
    }

    pub(super) fn clear_notified(&self) {
        self.notified.store(false, Ordering::Release);
    }

    pub(super) fn take_debt(&self) -> i64 {
        self.debt.swap(0, Ordering::AcqRel)
    }

    pub(super) fn was_short(&self, amount: i64, until_ms: i64) {
        self.short_of.store(amount, Ordering::Relaxed);
        self.short_until.store(until_ms, Ordering::Relaxed);
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("key", &self.key)
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}

fn key_of(owner: &Owner, what: What) -> String {
    let what = match what {
        What::Requests => "rpm".to_owned(),
        What::Tokens => "tpm".to_owned(),
        What::Parallel => "par".to_owned(),
        // Another period counts something else, and so does an account made anew.
        What::Money { created, period } => format!("usd.{period}.{created}"),
    };
    let model = owner.model.as_ref().map_or("", ModelName::as_str);
    format!("{what}:{}:{}:{model}", owner.kind, owner.id)
}
