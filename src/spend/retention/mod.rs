//! What is old in the database: minutes become days, days become one sum, and what else has a date goes.
//!
//! Owns when that is done, and by which clock. An actor looks at the clocks again and again; while this
//! router writes for all of them it begins a *round* every hour, a task of many short transactions with pauses
//! between them: a flush waits for one of them at most, and most of the time belongs to others. A round is
//! broken off at any moment without harm, and two routers may do the same at once: each transaction leaves all
//! sums as they were. It must not know what a request is, nor what is shown of the sums.
//!
//! It fails into keeping more: while the database is away, or the clocks disagree or have jumped within the hour
//! ([`state`]), nothing is done. A clock that is wrong and steady does harm, and slowly: a round goes no
//! further than a week beyond the oldest row.

mod actor;
mod message;
mod round;
mod state;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{RESTARTS, SpendStats};
use crate::store::Store;
use crate::supervision::{Child, Mailbox, StartError, Supervisor};
use actor::{RetentionActor, Setup};
use stats::Stats;

/// How long what is kept, and how often it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Minutes; `None`: for ever.
    pub minutes: Option<Duration>,
    /// Days; `None`: for ever.
    pub days: Option<Duration>,
    /// Between two looks at the clocks.
    pub look: Duration,
    /// How long they have to have agreed before something goes, and how long after one round the next begins.
    pub steady: Duration,
}

/// Does it, until it is stopped.
pub struct Retention {
    /// None where everything is kept.
    supervisor: Option<Supervisor>,
    stats: Arc<Stats>,
    over: CancellationToken,
}

impl Keeping {
    /// As often as is good.
    #[must_use]
    pub fn new(minutes: Option<Duration>, days: Option<Duration>) -> Self {
        Self {
            minutes,
            days,
            look: Duration::from_secs(10 * 60),
            steady: Duration::from_secs(60 * 60),
        }
    }
}

impl Retention {
    /// Begins to look at the clocks. `spend` says whether this router writes for all.
    ///
    /// # Errors
    /// When the actor does not start.
    pub async fn start(
        keeping: Keeping,
        store: Store,
        spend: Arc<SpendStats>,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let (stats, over) = (Arc::<Stats>::default(), CancellationToken::new());
        let mut supervisor = None;
        if keeping.minutes.is_some() || keeping.days.is_some() {
            let setup = Setup {
                keeping,
                store,
                spend,
                stats: Arc::clone(&stats),
                over: over.clone(),
            };
            let child = Child::new::<RetentionActor>("spend/retention", &Mailbox::new(), setup);
            supervisor = Some(Supervisor::start(RESTARTS, tracker, vec![child]).await?);
        }
        Ok(Self {
            supervisor,
            stats,
            over,
        })
    }

    /// Puts its counters into `registry`, whose prefix they take.
    pub fn register(&self, registry: &mut Registry) {
        stats::register(&self.stats, registry);
    }

    /// Nothing more goes. A transaction that is under way is finished.
    pub async fn stop(&self) {
        self.over.cancel();
        if let Some(supervisor) = &self.supervisor {
            supervisor.stop().await;
        }
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
