//! All accounts and prices.
//!
//! Owns the [`View`] of all accounts and prices. It is read from the database once and then kept up
//! by change: each account carries the number of its last change, and one row says the highest, so
//! asking whether anything has happened costs one row, every [`POLL`]; whoever changes something on
//! this router asks at once. That is the staleness: a change made on another router is seen within
//! [`POLL`] and the time of one read, and not later, unless the database cannot be read.
//!
//! It also asks, every [`SWEEP`] or so, what the database knows to be spent of each budget: the base upon
//! which routers add what is not there yet. It asks about a few at each read, so that a change does not
//! wait until a hundred thousand have been asked about.
//!
//! It must not know requests, nor what a limit does. It fails by serving the view it has, and by
//! saying how old it is; what that means for a key is decided by who asks.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::sharing;
use super::view::View;
use crate::domain::{ModelName, Price};
use crate::store::Store;
use crate::supervision::{Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{Register, Setup};
use message::Message;

/// How often the database is asked whether anything has changed.
pub const POLL: Duration = Duration::from_secs(1);
/// How often it is asked what is spent.
pub const SWEEP: Duration = Duration::from_secs(15);

/// What everyone may read at any time.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) view: ArcSwap<View>,
    /// The configuration's prices: an incarnation begins with these.
    pub(super) configured: ArcSwap<Vec<(ModelName, Price)>>,
    /// When the database last said that this view is current, by the local clock; negative: never.
    pub(super) read_ms: AtomicI64,
    /// Budgets found above their soft limit, each once a period.
    pub(super) soft: AtomicU64,
    /// Prices in the database that are none.
    pub(super) unreadable_prices: AtomicUsize,
}

#[derive(Clone)]
pub(super) struct Handle {
    published: Arc<Published>,
    mailbox: Mailbox<Message>,
    _supervisor: Arc<Supervisor>,
}

/// What the actor is made of.
pub(super) struct Dependencies {
    pub(super) store: Store,
    pub(super) sharing: sharing::Handle,
    pub(super) clock: Clock,
    pub(super) prices: Vec<(ModelName, Price)>,
    pub(super) sweep: Duration,
}

/// The database could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("accounts cannot be read: {0}")]
pub struct Unreadable(pub(super) String);

impl Handle {
    pub(super) async fn start(
        restarts: RestartPolicy,
        dependencies: Dependencies,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let published = Arc::new(Published {
            view: ArcSwap::from_pointee(View::empty()),
            configured: ArcSwap::from_pointee(dependencies.prices.clone()),
            read_ms: AtomicI64::new(-1),
            soft: AtomicU64::new(0),
            unreadable_prices: AtomicUsize::new(0),
        });
        let mailbox = Mailbox::new();
        let setup = Setup {
            dependencies: Arc::new(dependencies),
            published: Arc::clone(&published),
        };
        let children = vec![Child::new::<Register>("access/register", &mailbox, setup)];
        let supervisor = Supervisor::start(restarts, tracker, children).await?;
        Ok(Self {
            published,
            mailbox,
            _supervisor: Arc::new(supervisor),
        })
    }

    pub(super) fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.published.view.load()
    }

    pub(super) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// How long ago the database last said that the view is current, in milliseconds.
    pub(super) fn age_ms(&self, now_ms: i64) -> Option<i64> {
        let read = self.published.read_ms.load(Ordering::Acquire);
        (read >= 0).then(|| now_ms - read)
    }

    /// Something has changed. Returns when the view contains it.
    pub(super) async fn refresh(&self) -> Result<(), Unreadable> {
        let refreshed = self.mailbox.call(|reply| Message::Refresh(Some(reply)));
        refreshed
            .await
            .unwrap_or_else(|| Err(Unreadable("the register was restarted".to_owned())))
    }

    /// Somebody else has changed something.
    pub(super) fn refresh_soon(&self) {
        self.mailbox.cast(Message::Refresh(None));
    }

    /// The configuration's prices, from now on.
    pub(super) fn reprice(&self, prices: Vec<(ModelName, Price)>) {
        self.published.configured.store(Arc::new(prices));
        // An actor that is being restarted reads them when it starts.
        self.mailbox.cast(Message::Priced);
    }

    /// Kills the actor as a panic would. For fault injection.
    pub(super) fn kill(&self) {
        self.mailbox.kill();
    }
}
