//! The slots of one server: who gets one, and what its actor is told of how that went.
//!
//! Slots are counted by those who hold them ([`SlotPool`], [`Lease`]), so there is nothing here that could fail.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use tokio::time::Instant;

use super::message::Message;
use super::{Endpoint, Refusal};
use crate::backend::Probe;
use crate::domain::ModelName;
use crate::faults::{Avoid, Consequence, Fault, OnServer};
use crate::fleet::lease::{Grant, Lease, Outcome};
use crate::fleet::queue::Queues;
use crate::fleet::slot_pool::{SlotPool, count};

impl Endpoint {
    /// Requests of all models running there now.
    #[must_use]
    pub fn total_in_flight(&self) -> u32 {
        count(&self.taken)
    }

    /// True while it loads the model of this pool.
    #[must_use]
    pub fn is_loading(&self, pool: &SlotPool) -> bool {
        self.loading.load(Ordering::Relaxed) == pool.serial()
    }

    /// True while it loads a model other than the pool's.
    #[must_use]
    pub fn is_loading_other(&self, pool: &SlotPool) -> bool {
        let loading = self.loading.load(Ordering::Relaxed);
        loading != 0 && loading != pool.serial()
    }

    /// Every (model, requests running) pair this server has ever listed.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<SlotPool>> {
        self.pools
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect()
    }

    /// The slots of a model, made when it is first listed. Called by the registry alone.
    pub(in crate::fleet) fn pool(&self, model: &ModelName, spelling: &str) -> Arc<SlotPool> {
        if let Some(pool) = self.pools.get(model) {
            pool.set_spelling(spelling);
            return Arc::clone(&pool);
        }
        let pool = self.pools.entry(model.clone()).or_insert_with(|| {
            let settings = self.settings.load();
            let key = || format!("{model} {}", self.identity);
            let share = self.shares.cell(key);
            let pool = SlotPool::new(model.clone(), spelling, settings.slots, share);
            pool.hold().set(settings.drain.is_of(model));
            Arc::new(pool)
        });
        let pool = Arc::clone(&pool);
        self.shares.made(&pool);
        pool
    }

    /// The slots of a model that was ever listed.
    pub(super) fn known_pool(&self, model: &ModelName) -> Option<Arc<SlotPool>> {
        self.pools.get(model).map(|pool| Arc::clone(&pool))
    }

    /// The pool that all routers call so, if it is one of this server's.
    pub(in crate::fleet) fn pool_of(&self, key: &str) -> Option<Arc<SlotPool>> {
        let (model, server) = key.split_once(' ')?;
        if *server != *self.identity {
            return None;
        }
        self.known_pool(&ModelName::parse(model).ok()?)
    }

    /// A slot: taken directly where there is nothing to decide, else requested from the actor.
    ///
    /// # Errors
    /// [`Refusal`], the reason why not.
    pub(in crate::fleet) async fn acquire(
        self: &Arc<Self>,
        pool: &Arc<SlotPool>,
        queues: &Arc<Queues>,
    ) -> Result<Lease, Refusal> {
        if let Some(taken) = self.acquire_directly(pool, queues) {
            return taken;
        }
        let pool = Arc::clone(pool);
        let granted = self.mailbox.call(|reply| Message::Acquire { pool, reply });
        granted.await.unwrap_or(Err(Refusal::Restarting))
    }

    /// A slot that is taken directly; nothing where the actor decides, or all are taken.
    pub(in crate::fleet) fn acquire_directly(
        self: &Arc<Self>,
        pool: &Arc<SlotPool>,
        queues: &Arc<Queues>,
    ) -> Option<Result<Lease, Refusal>> {
        let slot = pool.take_directly()?;
        let (endpoint, queues) = (Arc::clone(self), Arc::clone(queues));
        let lease = Lease::new(endpoint, slot, queues, Grant::default());
        // Pairs with the fence of a server that begins to drain: either that finds this lease,
        // or this finds it draining. A server is removed when its last lease has ended.
        fence(Ordering::SeqCst);
        Some(match self.takes_nothing(lease.pool()) {
            false => Ok(lease),
            true => Err(Refusal::Draining),
        })
    }

    /// An answer has begun; the model was `loaded` for it in so long.
    pub(in crate::fleet) fn answered(&self, pool: &Arc<SlotPool>, loaded: Option<Duration>) {
        if loaded.is_some() || self.loading() == pool.serial() {
            self.changed();
        }
        self.tell(Message::Answered {
            pool: Arc::clone(pool),
            loaded,
        });
    }

    /// The model is loaded, and the request that wants it can be sent.
    pub(in crate::fleet) fn loaded(&self, pool: &Arc<SlotPool>) {
        self.changed();
        self.tell(Message::Loaded {
            pool: Arc::clone(pool),
        });
    }

    pub(in crate::fleet) fn delivered(&self, pool: &Arc<SlotPool>) {
        self.tell(Message::Delivered {
            pool: Arc::clone(pool),
        });
    }

    pub(in crate::fleet) fn released(&self, pool: &Arc<SlotPool>, outcome: Outcome, trial: bool) {
        if self.loading() == pool.serial() {
            // It may have made room for a load that came to nothing.
            self.changed();
        }
        self.tell(Message::Released {
            pool: Arc::clone(pool),
            outcome,
            trial,
        });
    }

    /// The server failed a request whose lease has ended, as another server's answer has shown.
    pub fn failed(&self, pool: &Arc<SlotPool>, fault: Fault) {
        self.tell(Message::Failed {
            pool: Arc::clone(pool),
            fault,
        });
    }

    /// The server failed a request that took no slot. What that says of the server counts; the model was not tried.
    pub fn failed_without_slot(&self, model: &ModelName, fault: Fault) {
        let Consequence { avoid, server } = fault.consequence();
        match avoid {
            Avoid::No => {
                if let Some(pool) = self.pools.get(model) {
                    self.failed(&pool, fault);
                }
            }
            // It has answered, and what it says may be the request's own.
            _ if fault == Fault::Status => self.worked_without_slot(),
            Avoid::Doubling | Avoid::For(_) => {
                self.unanswered.failed(Instant::now());
                if server == OnServer::Probe {
                    self.refresh(Probe::Alive);
                }
            }
        }
    }

    /// The server has answered a request that took no slot.
    pub fn worked_without_slot(&self) {
        self.unanswered.worked();
    }

    /// Whether it failed requests lately that took no slot: others are preferred for those.
    #[must_use]
    pub fn fails_without_slot(&self) -> bool {
        self.unanswered.is_avoided(Instant::now())
    }

    /// A request that takes no slot is sent there.
    pub(in crate::fleet) fn tried_without_slot(&self) {
        self.unanswered.tried(Instant::now());
    }

    pub(in crate::fleet) fn take(&self) -> Arc<()> {
        Arc::clone(&self.taken)
    }
}
