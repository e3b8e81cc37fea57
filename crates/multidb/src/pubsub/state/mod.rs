//! Which connection delivers, which one is being prepared, and what is announced between the two.
//!
//! There are at most two connections. What comes over the *current* one is delivered. The *next* one
//! is being prepared on the database that is active now: connected, then subscribed to everything
//! that was wanted, each subscription confirmed. Only then is the current one left, and *leaving*
//! means ending its subscriptions and waiting for the confirmation, which comes after its last
//! message; until then, what the next connection receives is held back. So a stream is all of the
//! old connection, one announcement, all of the new connection, whatever the interleaving of moves,
//! failures and messages.
//!
//! When the current connection is lost, delivery ends with one announcement, and the connection that
//! replaces it begins with another. The loss of a next connection is not announced. A ready
//! connection is not discarded: if the old database becomes active again while it is being left, the
//! move is completed and the next one begins.
//!
//! A request to subscribe is *settled*, which guarantees delivery from here on, when the current
//! connection has confirmed it, and the next one too if that is open. A settled request therefore
//! survives every move with nothing worse than an announced gap. Without a current connection nothing
//! is settled: new requests wait with the others for the next connection.
//!
//! Pure: time and random numbers are arguments; what is to be done is left in [`State::take`].

mod conn;
mod moves;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(super) use conn::{ConnId, Token};

use super::item::Gap;
use super::topic::Topic;
use crate::database::Database;
use conn::Conn;

/// One activation of a database: the same database activated later is another activation, because
/// publishers may have been elsewhere in between.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Activation {
    database: Database,
    /// The change of the active database that made it so.
    since: u64,
}

/// What the task shall do, in this order.
#[derive(Debug)]
pub(super) enum Action<M> {
    /// Connect; answered by `opened` or `lost`.
    Open { conn: ConnId, database: Database },
    /// Subscribe; answered by `answered` or `lost`.
    Subscribe {
        conn: ConnId,
        topic: Topic,
        token: Token,
    },
    /// Unsubscribe; not answered.
    Unsubscribe { conn: ConnId, topic: Topic },
    /// End its subscriptions, and pass on everything that came before the confirmation; answered by
    /// `left`, soon and in any case.
    Leave { conn: ConnId, database: Database },
    /// Drop the connection.
    Close { conn: ConnId },
    /// Wait; answered by `backoff_over`.
    Backoff { after: Duration, token: Token },
    /// To the readers that want it.
    Deliver(M),
    /// To every reader with a settled request.
    Interrupted(Database),
    /// To every reader with a settled request.
    Gap(Gap),
    /// From here on the topic is delivered.
    Settled(Topic),
    /// The topic is not allowed, and no longer wanted.
    Refused(Topic, Arc<str>),
}

/// How long to wait, and how much to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The first pause before a connection is tried again, doubling.
    pub(super) first_backoff: Duration,
    /// No pause is longer. A connection that was current for as long as this ends a series of failures.
    pub(super) max_backoff: Duration,
    /// Messages that may be held back during a move.
    pub(super) held: usize,
}

#[derive(Debug)]
pub(super) struct State<M> {
    limits: Limits,
    /// What is wanted, and whether it is settled.
    wanted: HashMap<Topic, bool>,
    goal: Option<Activation>,
    /// Changes of the active database that are known of.
    changes: u64,
    /// The goal before there was none, if no other can have been active since.
    previous_goal: Option<Activation>,
    current: Option<Conn>,
    next: Option<Next<M>>,
    /// The last current one. `None` before there was any: then there is no gap.
    from: Option<Activation>,
    current_since: Option<Instant>,
    interrupted_since: Option<Instant>,
    failures: u32,
    /// The pause that is being taken before the next attempt at the goal.
    backoff: Option<Token>,
    counter: u64,
    actions: VecDeque<Action<M>>,
}

#[derive(Debug)]
struct Next<M> {
    conn: Conn,
    /// The current connection has been asked to end its subscriptions.
    leaving: bool,
    held: VecDeque<M>,
    dropped: u64,
}

// === impl State: what is wanted ===

impl<M> State<M> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            wanted: HashMap::new(),
            goal: None,
            changes: 0,
            previous_goal: None,
            current: None,
            next: None,
            from: None,
            current_since: None,
            interrupted_since: None,
            failures: 0,
            backoff: None,
            counter: 0,
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(super) fn take(&mut self) -> Option<Action<M>> {
        self.actions.pop_front()
    }

    /// A topic is wanted. Answered by `Settled` or `Refused`, at once if it is settled.
    pub(super) fn want(&mut self, topic: &Topic) {
        if let Some(settled) = self.wanted.get(topic) {
            if *settled {
                self.actions.push_back(Action::Settled(topic.clone()));
            }
            return;
        }
        self.wanted.insert(topic.clone(), false);
        self.subscribe(Which::Current, topic);
        self.subscribe(Which::Next, topic);
        self.reconcile();
    }

    /// It is wanted no longer.
    pub(super) fn unwant(&mut self, topic: &Topic, now: Instant) {
        if self.wanted.remove(topic).is_none() {
            return;
        }
        for which in [Which::Current, Which::Next] {
            if let Some(conn) = self.conn(which)
                && conn.forget(topic)
            {
                let (conn, topic) = (conn.id, topic.clone());
                self.actions.push_back(Action::Unsubscribe { conn, topic });
            }
        }
        self.reconcile();
        self.advance(now);
    }

    /// The answer to `Action::Subscribe`.
    pub(super) fn answered(
        &mut self,
        conn: ConnId,
        topic: &Topic,
        token: Token,
        answer: Result<(), Arc<str>>,
        now: Instant,
    ) {
        let Some(which) = self.which(conn) else {
            return;
        };
        let refusal = answer.as_ref().err().cloned();
        let valid = self
            .conn(which)
            .is_some_and(|conn| conn.answer(topic, token, answer));
        if !valid {
            return;
        }
        match refusal {
            // What the next one refuses is announced when it takes over: until then the other delivers.
            Some(reason) if which == Which::Current => self.refuse(topic, reason, now),
            _ => self.settle(topic),
        }
        self.advance(now);
    }

    fn refuse(&mut self, topic: &Topic, reason: Arc<str>, now: Instant) {
        self.unwant(topic, now);
        self.actions
            .push_back(Action::Refused(topic.clone(), reason));
    }

    fn settle(&mut self, topic: &Topic) {
        let subscription = |conn: &Conn| !conn.is_open() || conn.has_confirmed(topic);
        let settles = self.current.as_ref().is_some_and(subscription)
            && self
                .next
                .as_ref()
                .is_none_or(|next| subscription(&next.conn));
        if let Some(settled @ false) = self.wanted.get_mut(topic)
            && settles
        {
            *settled = true;
            self.actions.push_back(Action::Settled(topic.clone()));
        }
    }

    /// After the connections have changed.
    fn settle_all(&mut self) {
        let open: Vec<Topic> = self
            .wanted
            .iter()
            .filter(|(_, settled)| !**settled)
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in &open {
            self.settle(topic);
        }
    }

    /// There is no current connection.
    fn unsettle_all(&mut self) {
        for settled in self.wanted.values_mut() {
            *settled = false;
        }
    }

    fn subscribe(&mut self, which: Which, topic: &Topic) {
        let token = self.count();
        if let Some(conn) = self.conn(which).filter(|conn| conn.is_open()) {
            conn.ask(topic.clone(), token);
            let (conn, topic) = (conn.id, topic.clone());
            self.actions
                .push_back(Action::Subscribe { conn, topic, token });
        }
    }
}

// === impl State: connections ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Current,
    Next,
}

impl<M> State<M> {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn which(&self, conn: ConnId) -> Option<Which> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.id == conn)
        {
            Some(Which::Current)
        } else if self.next.as_ref().is_some_and(|next| next.conn.id == conn) {
            Some(Which::Next)
        } else {
            None
        }
    }

    fn conn(&mut self, which: Which) -> Option<&mut Conn> {
        match which {
            Which::Current => self.current.as_mut(),
            Which::Next => self.next.as_mut().map(|next| &mut next.conn),
        }
    }
}
