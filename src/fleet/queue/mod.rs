//! The queues of requests that wait for a slot, one per model.
//!
//! Owns an order and nothing else: who is next. It does not know which server has a free slot; it gives
//! the head of the queue the *permit*, and the request that has the permit tries the endpoints itself.
//! One permit is out at a time, so no request overtakes another, and a freed slot goes to exactly the request
//! that has waited longest. Order is by arrival at the router, not at the queue, so a request that
//! failed on one server and must wait for another does not start again from the back.
//!
//! A new request joins the queue when there is one. A request that can use only some of the servers
//! (it tried the others, or its client named some) does not block those behind it.
//!
//! It fails by being restarted empty: every waiting request sees its reply channel close and joins
//! again with its arrival number. Dropping the entry of a request removes it; nothing is polled.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use dashmap::DashMap;
use tokio::sync::{oneshot, watch};

pub(super) use actor::QueueActor;
use message::Message;

use crate::domain::ModelName;
use crate::supervision::Mailbox;

/// A request's number in the order of arrival.
pub type Arrival = u64;

/// All queues.
#[derive(Debug, Default)]
pub struct Queues {
    queues: DashMap<ModelName, Arc<Queue>>,
    /// Requests in all queues together, shared with each queue.
    waiting: Arc<AtomicUsize>,
}

/// One model's queue.
#[derive(Debug)]
pub struct Queue {
    model: ModelName,
    len: AtomicUsize,
    /// No request may join any more; there is, or will be, another queue of the model.
    closed: AtomicBool,
    all: Arc<AtomicUsize>,
    /// A `Freed` has been sent and not been read: a second one would say nothing new.
    freed_sent: AtomicBool,
    mailbox: Mailbox<Message>,
    /// Counts the incarnations of the actor.
    incarnations: watch::Sender<u64>,
}

/// A request's entry in a queue; dropping it removes the request.
#[derive(Debug)]
pub struct Entry {
    queue: Arc<Queue>,
    arrival: Arrival,
    constrained: bool,
}

/// Why a request did not join a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEntered {
    /// Enough wait already.
    Full,
    /// The queue has been removed: ask for the model's queue again.
    Closed,
}

/// The right to try now. Dropping it, with or without a lease won, passes it on.
#[derive(Debug)]
pub struct Permit {
    queue: Option<Arc<Queue>>,
    arrival: Arrival,
}

// === impl Queues ===

impl Queues {
    /// The queue of a model, if it has ever had one.
    pub fn get(&self, model: &ModelName) -> Option<Arc<Queue>> {
        self.queues.get(model).map(|queue| Arc::clone(&queue))
    }

    /// Every queue there has been.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.queues
            .iter()
            .map(|queue| Arc::clone(queue.value()))
            .collect()
    }

    pub(super) fn open(&self, model: &ModelName) -> Arc<Queue> {
        let queue = self.queues.entry(model.clone()).or_insert_with(|| {
            Arc::new(Queue {
                model: model.clone(),
                len: AtomicUsize::new(0),
                closed: AtomicBool::new(false),
                all: Arc::clone(&self.waiting),
                freed_sent: AtomicBool::new(false),
                mailbox: Mailbox::new(),
                incarnations: watch::Sender::new(0),
            })
        });
        Arc::clone(&queue)
    }

    /// Closes a queue that is empty. Done by the registry alone.
    pub(super) fn close(&self, queue: &Queue) -> bool {
        queue.closed.store(true, Ordering::SeqCst);
        // Pairs with the fence of a request that enters: one of the two sees the other.
        fence(Ordering::SeqCst);
        if !queue.is_empty() {
            queue.closed.store(false, Ordering::SeqCst);
            return false;
        }
        self.queues.remove(&queue.model);
        true
    }

    /// True while any request waits.
    pub(super) fn anyone_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// There may be a free slot: the heads of the queues shall try.
    pub(super) fn freed(&self) {
        if !self.anyone_waits() {
            return;
        }
        for queue in &self.queues {
            queue.freed();
        }
    }
}

// === impl Queue ===

impl Queue {
    /// The model.
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kills the actor as a panic would. For fault injection.
    pub fn kill_actor(&self) {
        self.mailbox.kill();
    }

    /// Joins the queue, unless `limit` requests wait already or the queue is closed.
    pub(super) fn enter(
        self: &Arc<Self>,
        arrival: Arrival,
        constrained: bool,
        limit: usize,
    ) -> Result<Entry, NotEntered> {
        if self.len.fetch_add(1, Ordering::Relaxed) >= limit {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(NotEntered::Full);
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence of a dropping lease, and with that of a closing queue.
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            self.all.fetch_sub(1, Ordering::Relaxed);
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(NotEntered::Closed);
        }
        Ok(Entry {
            queue: Arc::clone(self),
            arrival,
            constrained,
        })
    }

    fn freed(&self) {
        if !self.is_empty() && !self.freed_sent.swap(true, Ordering::SeqCst) {
            self.tell(Message::Freed);
        }
    }

    /// The actor reads `Freed`: what is freed from here on must be sent again.
    fn clear_freed(&self) {
        self.freed_sent.store(false, Ordering::SeqCst);
    }

    /// The mailbox of its actor.
    pub(super) fn mailbox(&self) -> &Mailbox<Message> {
        &self.mailbox
    }

    /// An incarnation of its actor begins, and knows none of the requests that wait.
    fn restarted(&self) {
        self.clear_freed();
        self.incarnations.send_modify(|count| *count += 1);
    }

    fn tell(&self, message: Message) {
        self.mailbox.cast(message);
    }
}

// === impl Entry ===

impl Entry {
    /// Waits for the first permit.
    pub(super) async fn permit(&self) -> Permit {
        let (reply, permit) = oneshot::channel();
        let incarnations = self.queue.incarnations.subscribe();
        self.queue.tell(Message::Join {
            arrival: self.arrival,
            constrained: self.constrained,
            reply,
        });
        self.until(permit, incarnations).await
    }

    /// Gives the permit back without having found a slot, keeps the entry, and waits for the next permit.
    pub(super) async fn again(&self, mut permit: Permit) -> Permit {
        let (reply, next) = oneshot::channel();
        let incarnations = self.queue.incarnations.subscribe();
        permit.queue = None;
        self.queue.tell(Message::Again {
            arrival: self.arrival,
            constrained: self.constrained,
            reply,
        });
        self.until(next, incarnations).await
    }

    /// Waits for a permit across any number of incarnations of the actor.
    async fn until(
        &self,
        mut permit: oneshot::Receiver<Permit>,
        mut incarnations: watch::Receiver<u64>,
    ) -> Permit {
        loop {
            if let Ok(permit) = permit.await {
                return permit;
            }
            // The sender is in `self.queue`, so this ends only by a new incarnation.
            let _ = incarnations.changed().await;
            let (reply, next) = oneshot::channel();
            permit = next;
            self.queue.tell(Message::Join {
                arrival: self.arrival,
                constrained: self.constrained,
                reply,
            });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.queue.len.fetch_sub(1, Ordering::Relaxed);
        self.queue.all.fetch_sub(1, Ordering::Relaxed);
        self.queue.tell(Message::Left {
            arrival: self.arrival,
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.tell(Message::Left {
                arrival: self.arrival,
            });
        }
    }
}
