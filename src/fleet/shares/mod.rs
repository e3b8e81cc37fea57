//! This router's shares of the servers' slots.
//!
//! Owns how many of a pool's slots requests of this router may use, where several routers have the same servers
//! ([`cluster::slots`](crate::cluster::slots) is the rule). Requests read that from the pool's [`Cell`] and never
//! come here; one that finds the share used up while the server may have slots left says so, and waits in its
//! model's queue as for any other slot. An actor calls the ledger for all of them, one call at a time, and obeys it:
//! what others are owed is given back as requests end.
//!
//! As long as no pool needs more than its even share, the actor makes one call a second, which says that the router
//! is there. A router without others has all slots, and nothing is counted.
//!
//! It must not know requests, or which server is best. It fails by being restarted as another run of this router:
//! the ledger forgets what the former one had, and requests that run are reported anew. Without Redis shares stay as
//! they are. Without Redis and database nobody may know any more that this router is there: then it has no share.
//! By [`SlotSharing::Safe`] a router may in any case have one request of each pool, which is the bound's `R - 1`.

mod actor;
mod asking;
mod cell;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

pub use asking::ask;
pub use cell::{Cell, Rule};
pub use state::{Asked, LOOK, Learnt, Pool as SharePool, State as ShareState, Want};

use super::queue::Queues;
use super::slot_pool::SlotPool;
use super::view::FleetView;
use crate::cluster::slots::{REPLY_TIMEOUT, Shared};
use crate::config::SlotSharing;
use crate::supervision::{Backoff, Child, Mailbox, RestartPolicy, StartError, Supervisor};
use actor::{Setup, Shares};
use message::Message;

const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};

/// The other routers that the database knows to be there, by the names they have in the ledger; nothing while it
/// does not say.
pub type Others = Arc<dyn Fn() -> Option<Vec<Arc<str>>> + Send + Sync>;

/// How slots are shared with other routers.
#[derive(Clone)]
pub struct Sharing {
    /// Where it is accounted for.
    pub ledger: Arc<dyn Shared>,
    /// What holds when it is not known who has how much.
    pub slots: SlotSharing,
    /// Who else is there.
    pub others: Others,
}

/// The way to this router's shares. Clones share it.
#[derive(Clone, Debug)]
pub struct Handle {
    rule: Arc<Rule>,
    mailbox: Option<Mailbox<Message>>,
}

impl std::fmt::Debug for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl Default for Handle {
    /// Of a router that shares with nobody.
    fn default() -> Self {
        Self {
            rule: Arc::new(Rule::new(1, 1)),
            mailbox: None,
        }
    }
}

impl Handle {
    /// Where slots are shared like this, if they are. The actor comes later.
    pub(super) fn new(sharing: Option<&Sharing>) -> Self {
        let Some(sharing) = sharing else {
            return Self::default();
        };
        let floor = u32::from(sharing.slots == SlotSharing::Safe);
        Self {
            rule: Arc::new(Rule::new(0, floor)),
            mailbox: Some(Mailbox::new()),
        }
    }

    pub(super) async fn start(
        &self,
        sharing: Option<Sharing>,
        view: &Arc<ArcSwap<FleetView>>,
        queues: &Arc<Queues>,
        tracker: TaskTracker,
    ) -> Result<Option<Arc<Supervisor>>, StartError> {
        let (Some(mailbox), Some(sharing)) = (&self.mailbox, sharing) else {
            return Ok(None);
        };
        let setup = Setup {
            sharing,
            rule: Arc::clone(&self.rule),
            view: Arc::clone(view),
            queues: Arc::clone(queues),
            run: Arc::new(AtomicI64::new(0)),
        };
        let child = Child::new::<Shares>("fleet/shares", mailbox, setup);
        let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
        Ok(Some(Arc::new(supervisor)))
    }

    /// The share of a new pool.
    pub(super) fn cell(&self, key: impl Fn() -> String) -> Cell {
        let key = match self.mailbox {
            Some(_) => key().into(),
            None => Arc::default(),
        };
        Cell::new(key, self.clone())
    }

    fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Among how many routers pools are divided; 0: this one has nothing yet.
    pub(super) fn divides(&self) -> i64 {
        self.rule.divides()
    }

    /// The pool is new.
    pub(super) fn made(&self, pool: &Arc<SlotPool>) {
        self.tell(|| Message::Made(Arc::clone(pool)));
    }

    /// Whether other routers have the same servers.
    pub(super) fn is_shared(&self) -> bool {
        self.mailbox.is_some()
    }

    /// A request found no slot of the pool within this router's share.
    pub(super) fn short(&self, pool: &Arc<SlotPool>) {
        if self.mailbox.is_some() && pool.share().found_short() {
            self.tell(|| Message::Touched(Arc::clone(pool)));
        }
    }

    /// A slot of the pool has come back.
    pub(super) fn came_back(&self, pool: &Arc<SlotPool>) {
        if pool.share().came_back() {
            self.tell(|| Message::Touched(Arc::clone(pool)));
        }
    }

    /// The ledger has something to tell.
    pub(super) fn wake(&self) {
        self.tell(|| Message::Wake);
    }

    /// This router ends: its shares are free for the others at once.
    pub(super) async fn leave(&self) {
        if let Some(mailbox) = &self.mailbox {
            let left = mailbox.call(Message::Leave);
            drop(tokio::time::timeout(2 * REPLY_TIMEOUT, left).await);
        }
    }

    /// Kills the actor as a panic would. For fault injection.
    pub(super) fn kill(&self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.kill();
        }
    }

    fn tell(&self, message: impl FnOnce() -> Message) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.cast(message());
        }
    }
}
