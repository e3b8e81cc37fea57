//! Keeping this router's shares of what is limited.
//!
//! Owns the calls to the ledger ([`rule`](super::rule)): the one in Redis that all routers
//! share, or one of its own where there is no Redis. Requests take from the shares in the
//! [`Cell`]s and do not come here, as long as there is something to take. This actor refills shares
//! before they are empty, gives back what is not used, and answers for the requests that found
//! too little: all that wait are decided by one call to the ledger, each wholly or not at all.
//!
//! How much is kept ready follows use: twice as much each time a share ran low, half as much whenever
//! most of it lay idle, nothing when all of it did. Far from a limit a router has what it needs. Close to one
//! the ledger gives less and less in advance, down to nothing, and every request is decided where all
//! routers meet: it then waits for one reply of Redis, at most [`REPLY_TIMEOUT`], unless the ledger is
//! new (see below).
//!
//! **What a limit means.** Reported spending, what the database knows, and what all routers hold
//! never exceed it, except by what requests used beyond their reservation and no free share of
//! their router could take. That is the bound: a limit is exceeded at most by the cost, beyond what
//! was reserved for it, of the requests in flight when it was reached. Where a client says how
//! much it wants at most, the reservation is the worst case, and nothing is exceeded.
//!
//! **When Redis is away**, what a router holds stays its own. Beyond that `when_redis_away` decides:
//! its part of what was left when Redis last answered, or nothing. Every report is absolute, so
//! the first one after an outage, a failover or a wiped Redis repairs the ledger. Until everyone had the
//! time for it, that ledger is new and gives nothing: a router that may decide alone does so, and
//! with any other, requests wait for what the ledger will say, about a second longer than
//! [`Terms::min_age_ms`] at most.
//!
//! **A router is never silent** for longer than a tenth of [`Terms::hold_ms`]: with nothing to report it
//! sends an empty report. So all know how many share before they need to, an idle router learns that
//! the ledger has forgotten it while that is still new, and a ledger without a report for
//! [`Terms::hold_ms`] is one that no router uses.
//!
//! It must not know accounts, prices or requests. It fails by being restarted empty: shares stay
//! in the cells, each is reported again as soon as it is touched, and requests that waited are refused
//! as if Redis were away.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::meter::{Cell, Taken};
use super::rule::{Shared, Terms};
use crate::config::WhenRedisAway;
use crate::supervision::{Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::Sharing;
use message::Message;
pub use state::Short;

/// How long the shared ledger may take to answer before it counts as away.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(150);

/// Commands to Redis that nobody waits for any more, at most. Each ends when its client gives it up.
const MOST_OUT: usize = 16;

/// What all routers agree about. An idle router learns of a ledger that has forgotten it within a tenth of
/// `hold_ms`; the rest of `min_age_ms` is for routers that find the Redis which the others use later
/// than they do.
pub const TERMS: Terms = Terms {
    hold_ms: 10_000,
    min_age_ms: 5_000,
    forget_ms: 600_000,
};

/// Until when everything this router has ever counted is known to be in the database, in Unix
/// seconds.
pub type AppliedUntil = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the actor depends on.
pub(super) struct Dependencies {
    pub(super) me: Arc<str>,
    pub(super) shared: Option<Arc<dyn Shared>>,
    pub(super) policy: WhenRedisAway,
    pub(super) applied_until: AppliedUntil,
    pub(super) clock: Clock,
    pub(super) tracker: TaskTracker,
}

/// What the actor is made of, and what outlives it.
struct Setup {
    me: Arc<str>,
    shared: Option<Arc<dyn Shared>>,
    policy: WhenRedisAway,
    applied_until: AppliedUntil,
    clock: Clock,
    out: Arc<Semaphore>,
    sharers: Arc<AtomicI64>,
    waits: Arc<AtomicBool>,
}

/// The actor's address.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: Mailbox<Message>,
    clock: Clock,
    sharers: Arc<AtomicI64>,
    /// Whoever has to ask now will have to wait for longer than a reply takes.
    waits: Arc<AtomicBool>,
    _supervisor: Arc<Supervisor>,
}

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        dependencies: Dependencies,
    ) -> Result<Self, StartError> {
        let mailbox = Mailbox::new();
        let clock = dependencies.clock.clone();
        let sharers = Arc::new(AtomicI64::new(0));
        let waits = Arc::new(AtomicBool::new(false));
        let setup = Setup {
            me: dependencies.me,
            shared: dependencies.shared,
            policy: dependencies.policy,
            applied_until: dependencies.applied_until,
            clock: dependencies.clock,
            out: Arc::new(Semaphore::new(MOST_OUT)),
            sharers: Arc::clone(&sharers),
            waits: Arc::clone(&waits),
        };
        let children = vec![Child::new::<Sharing>(
            "access/sharing",
            &mailbox,
            Arc::new(setup),
        )];
        let supervisor = Supervisor::start(restarts, dependencies.tracker, children).await?;
        Ok(Self {
            mailbox,
            clock,
            sharers,
            waits,
            _supervisor: Arc::new(supervisor),
        })
    }

    /// All of `wants`, or the reason why not. Nothing is awaited while the shares suffice.
    pub(super) async fn take(&self, wants: &[(Arc<Cell>, i64)]) -> Result<Vec<Taken>, Short> {
        let now_ms = self.clock.local_ms();
        let mut taken = Vec::with_capacity(wants.len());
        let mut missing = Vec::new();
        for (cell, amount) in wants {
            match cell.take(*amount, now_ms) {
                Some(part) => {
                    self.notify_if_needed(cell);
                    taken.push(part);
                }
                None if cell.is_short(*amount, now_ms) => return Err(Short::Of(Arc::clone(cell))),
                None => missing.push((Arc::clone(cell), *amount)),
            }
        }
        if !missing.is_empty() {
            if self.waits.load(Ordering::Relaxed) {
                // Others need not wait because this one does: all of it is asked for when its time comes.
                taken.clear();
                missing = wants.to_vec();
            }
            let answer = self.mailbox.call(|reply| Message::Take {
                wants: missing,
                reply,
            });
            taken.extend(answer.await.ok_or(Short::Unknown)??);
        }
        Ok(taken)
    }

    /// The request is over and used so much of it.
    pub(super) fn settle(&self, taken: Taken, used: i64) {
        let cell = Arc::clone(taken.cell());
        taken.settle(used, self.clock.local_ms());
        self.notify_if_needed(&cell);
    }

    /// The limits of these may have changed. Without a share there is nothing to report.
    pub(super) fn changed(&self, cells: Vec<Arc<Cell>>) {
        for cell in cells.into_iter().filter(|cell| cell.is_shared()) {
            self.mailbox.cast(Message::Touched(cell));
        }
    }

    /// Routers that share, as of the last answer: see [`State::sharers`](state::State::sharers).
    pub(super) fn sharers(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.sharers)
    }

    /// The ledger's clock, as far as it is known.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Kills the actor as a panic would. For fault injection.
    pub(super) fn kill(&self) {
        self.mailbox.kill();
    }

    fn notify_if_needed(&self, cell: &Arc<Cell>) {
        if cell.should_notify() {
            self.mailbox.cast(Message::Touched(Arc::clone(cell)));
        }
    }
}
