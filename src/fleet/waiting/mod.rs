//! The lines of requests that wait for a slot, one per model.
//!
//! Owns an order and nothing else: who is next. It does not know which server has room; it gives
//! the head of the line its *turn*, and the request whose turn it is tries the endpoints itself.
//! One turn is out at a time, so nobody overtakes, and a freed slot goes to exactly the request
//! that has waited longest. Order is by arrival at the router, not at the line, so a request that
//! failed on one server and must wait for another does not start again from the back.
//!
//! A newcomer joins the line when there is one. A request that can use only some of the servers
//! (it tried the others, or its client named some) does not block those behind it.
//!
//! It fails by being restarted empty: every waiting request sees its reply channel close and joins
//! again with the place it had. A request that leaves takes its place with it; nothing is polled.

mod actor;
mod message;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use dashmap::DashMap;
use tokio::sync::{oneshot, watch};

pub(super) use actor::Waiting;
use message::Message;

use crate::domain::ModelName;
use crate::supervision::Mailbox;

/// A request's place in the order of arrival.
pub type Ticket = u64;

/// All lines.
#[derive(Debug, Default)]
pub struct Lines {
    lines: DashMap<ModelName, Arc<Line>>,
    /// Requests in all lines together, shared with each line.
    waiting: Arc<AtomicUsize>,
}

/// One model's line.
#[derive(Debug)]
pub struct Line {
    model: ModelName,
    len: AtomicUsize,
    /// Nobody may join any more; there is, or will be, another line of the model.
    closed: AtomicBool,
    all: Arc<AtomicUsize>,
    /// A `Freed` is on its way: a second one would say nothing new.
    told: AtomicBool,
    mailbox: Mailbox<Message>,
    /// Counts the lives of the actor.
    lives: watch::Sender<u64>,
}

/// Being in line; dropping it is leaving.
#[derive(Debug)]
pub struct Place {
    line: Arc<Line>,
    ticket: Ticket,
    constrained: bool,
}

/// Why a request did not join a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Enough wait already.
    Full,
    /// The line has been removed: ask for the model's line again.
    Closed,
}

/// The right to try now. Dropping it, with or without a lease won, passes it on.
#[derive(Debug)]
pub struct Turn {
    line: Option<Arc<Line>>,
    ticket: Ticket,
}

// === impl Lines ===

impl Lines {
    /// The line of a model, if it has ever had one.
    pub fn get(&self, model: &ModelName) -> Option<Arc<Line>> {
        self.lines.get(model).map(|line| Arc::clone(&line))
    }

    /// Every line there has been.
    pub fn all(&self) -> Vec<Arc<Line>> {
        self.lines
            .iter()
            .map(|line| Arc::clone(line.value()))
            .collect()
    }

    pub(super) fn open(&self, model: &ModelName) -> Arc<Line> {
        let line = self.lines.entry(model.clone()).or_insert_with(|| {
            Arc::new(Line {
                model: model.clone(),
                len: AtomicUsize::new(0),
                closed: AtomicBool::new(false),
                all: Arc::clone(&self.waiting),
                told: AtomicBool::new(false),
                mailbox: Mailbox::new(),
                lives: watch::Sender::new(0),
            })
        });
        Arc::clone(&line)
    }

    /// Closes a line in which nobody is. Done by the registry alone.
    pub(super) fn close(&self, line: &Line) -> bool {
        line.closed.store(true, Ordering::SeqCst);
        // Pairs with the fence of a request that enters: one of the two sees the other.
        fence(Ordering::SeqCst);
        if !line.is_empty() {
            line.closed.store(false, Ordering::SeqCst);
            return false;
        }
        self.lines.remove(&line.model);
        true
    }

    /// True while any request waits.
    pub(super) fn anyone_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Somewhere there may be room: the heads of the lines shall try.
    pub(super) fn freed(&self) {
        if !self.anyone_waits() {
            return;
        }
        for line in &self.lines {
            line.freed();
        }
    }
}

// === impl Line ===

impl Line {
    /// The model.
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kills the actor as a panic would. For fault drills.
    pub fn kill_actor(&self) {
        self.mailbox.kill();
    }

    /// Joins the line, unless `limit` requests wait already or the line is closed.
    pub(super) fn enter(
        self: &Arc<Self>,
        ticket: Ticket,
        constrained: bool,
        limit: usize,
    ) -> Result<Place, NoPlace> {
        if self.len.fetch_add(1, Ordering::Relaxed) >= limit {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::Full);
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence of a dropping lease, and with that of a closing line.
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            self.all.fetch_sub(1, Ordering::Relaxed);
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::Closed);
        }
        Ok(Place {
            line: Arc::clone(self),
            ticket,
            constrained,
        })
    }

    fn freed(&self) {
        if !self.is_empty() && !self.told.swap(true, Ordering::SeqCst) {
            self.tell(Message::Freed);
        }
    }

    /// The actor reads `Freed`: what is freed from here on must be told again.
    fn hear(&self) {
        self.told.store(false, Ordering::SeqCst);
    }

    /// The way to its actor.
    pub(super) fn mailbox(&self) -> &Mailbox<Message> {
        &self.mailbox
    }

    /// An incarnation of its actor begins, and knows nobody who waits.
    fn restarted(&self) {
        self.hear();
        self.lives.send_modify(|lives| *lives += 1);
    }

    fn tell(&self, message: Message) {
        self.mailbox.cast(message);
    }
}

// === impl Place ===

impl Place {
    /// Waits for the first turn.
    pub(super) async fn turn(&self) -> Turn {
        let (reply, turn) = oneshot::channel();
        let lives = self.line.lives.subscribe();
        self.line.tell(Message::Join {
            ticket: self.ticket,
            constrained: self.constrained,
            reply,
        });
        self.until(turn, lives).await
    }

    /// Gives the turn back without having found room, keeping the place, and waits for the next.
    pub(super) async fn again(&self, mut turn: Turn) -> Turn {
        let (reply, next) = oneshot::channel();
        let lives = self.line.lives.subscribe();
        turn.line = None;
        self.line.tell(Message::Again {
            ticket: self.ticket,
            constrained: self.constrained,
            reply,
        });
        self.until(next, lives).await
    }

    /// Waits for a turn across any number of the actor's lives.
    async fn until(
        &self,
        mut turn: oneshot::Receiver<Turn>,
        mut lives: watch::Receiver<u64>,
    ) -> Turn {
        loop {
            if let Ok(turn) = turn.await {
                return turn;
            }
            // The sender lives in `self.line`, so this ends only by a new life.
            let _ = lives.changed().await;
            let (reply, next) = oneshot::channel();
            turn = next;
            self.line.tell(Message::Join {
                ticket: self.ticket,
                constrained: self.constrained,
                reply,
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.len.fetch_sub(1, Ordering::Relaxed);
        self.line.all.fetch_sub(1, Ordering::Relaxed);
        self.line.tell(Message::Left {
            ticket: self.ticket,
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.tell(Message::Left {
                ticket: self.ticket,
            });
        }
    }
}
