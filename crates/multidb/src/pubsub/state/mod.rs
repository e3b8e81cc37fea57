//! Which connection is heard, which one is made ready, and what is said at the seam.
//!
//! There are at most two legs. One is *heard*: what comes over it is delivered. The *next* one is
//! being made ready on the database that is active now: connected, then subscribed to everything
//! that was wanted, each subscription confirmed. Only then is the heard one left, and *leaving*
//! means ending its subscriptions and waiting for the sign that this has happened, which comes after
//! its last message; until then, what the next leg brings is held back. So a stream is all of the
//! old leg, one announcement, all of the new leg, whatever the interleaving of moves, deaths and
//! messages.
//!
//! A leg that dies while it is heard ends the delivery with one announcement, and the leg that is
//! heard after it begins with another. A leg that dies unheard is nobody's business. Ready legs are
//! not given back: if the old database becomes active again while it is being left, the move is
//! completed and the next one begins.
//!
//! A wish to subscribe is *settled*, which is a promise to deliver from here on, when the heard leg
//! has confirmed it, and the next one too if that is open. A settled wish therefore survives every
//! move with nothing worse than an announced gap. While nobody is heard nothing is settled: who
//! comes then waits with the others for the next leg.
//!
//! Pure: time and dice are arguments; what is to be done is left in [`State::take`].

mod leg;
mod moves;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(super) use leg::{LegId, Token};

use super::item::Gap;
use super::topic::Topic;
use crate::database::Database;
use leg::Leg;

/// The active database, as one of a succession: the same database at a later turn is another place,
/// because publishers may have been elsewhere in between.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    database: Database,
    /// The change of the active database that made it so.
    since: u64,
}

/// What the shell shall do, in this order.
#[derive(Debug)]
pub(super) enum Act<M> {
    /// Connect; answered by `opened` or `died`.
    Open { leg: LegId, database: Database },
    /// Subscribe; answered by `answered` or `died`.
    Subscribe {
        leg: LegId,
        topic: Topic,
        token: Token,
    },
    /// Unsubscribe; not answered.
    Unsubscribe { leg: LegId, topic: Topic },
    /// End its subscriptions, and pass on everything that came before the confirmation; answered by
    /// `left`, soon and in any case.
    Leave { leg: LegId, database: Database },
    /// Drop the connection.
    Close { leg: LegId },
    /// Come back with `rested`.
    Rest { after: Duration, token: Token },
    /// To those who want it.
    Deliver(M),
    /// To everyone with a settled wish.
    Interrupted(Database),
    /// To everyone with a settled wish.
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
    pub(super) first_rest: Duration,
    /// No pause is longer. A leg that was heard for as long as this ends a series of failures.
    pub(super) longest_rest: Duration,
    /// Messages that may be held back during a move.
    pub(super) held: usize,
}

#[derive(Debug)]
pub(super) struct State<M> {
    limits: Limits,
    /// What is wanted, and whether it is settled.
    wanted: HashMap<Topic, bool>,
    goal: Option<Place>,
    /// Changes of the active database that are known of.
    changes: u64,
    /// The goal before there was none, if nobody can have been active since.
    vacated: Option<Place>,
    heard: Option<Leg>,
    next: Option<Next<M>>,
    /// Who was heard last. `None` before anyone was: then there is no gap to speak of.
    from: Option<Place>,
    heard_since: Option<Instant>,
    silent_since: Option<Instant>,
    failures: u32,
    /// The pause that is being taken before the next attempt at the goal.
    rest: Option<Token>,
    counter: u64,
    acts: VecDeque<Act<M>>,
}

#[derive(Debug)]
struct Next<M> {
    leg: Leg,
    /// The heard leg has been asked for its last sign.
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
            vacated: None,
            heard: None,
            next: None,
            from: None,
            heard_since: None,
            silent_since: None,
            failures: 0,
            rest: None,
            counter: 0,
            acts: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(super) fn take(&mut self) -> Option<Act<M>> {
        self.acts.pop_front()
    }

    /// Somebody wants a topic. Answered by `Settled` or `Refused`, at once if it is settled.
    pub(super) fn want(&mut self, topic: &Topic) {
        if let Some(settled) = self.wanted.get(topic) {
            if *settled {
                self.acts.push_back(Act::Settled(topic.clone()));
            }
            return;
        }
        self.wanted.insert(topic.clone(), false);
        self.subscribe(Which::Heard, topic);
        self.subscribe(Which::Next, topic);
        self.steer();
    }

    /// Nobody wants it any longer.
    pub(super) fn unwant(&mut self, topic: &Topic, now: Instant) {
        if self.wanted.remove(topic).is_none() {
            return;
        }
        for which in [Which::Heard, Which::Next] {
            if let Some(leg) = self.leg(which)
                && leg.forget(topic)
            {
                let (leg, topic) = (leg.id, topic.clone());
                self.acts.push_back(Act::Unsubscribe { leg, topic });
            }
        }
        self.steer();
        self.advance(now);
    }

    /// The answer to `Act::Subscribe`.
    pub(super) fn answered(
        &mut self,
        leg: LegId,
        topic: &Topic,
        token: Token,
        answer: Result<(), Arc<str>>,
        now: Instant,
    ) {
        let Some(which) = self.which(leg) else {
            return;
        };
        let refusal = answer.as_ref().err().cloned();
        let valid = self
            .leg(which)
            .is_some_and(|leg| leg.answer(topic, token, answer));
        if !valid {
            return;
        }
        match refusal {
            // What the next one refuses is said when it takes over: until then the other delivers.
            Some(reason) if which == Which::Heard => self.refuse(topic, reason, now),
            _ => self.settle(topic),
        }
        self.advance(now);
    }

    fn refuse(&mut self, topic: &Topic, reason: Arc<str>, now: Instant) {
        self.unwant(topic, now);
        self.acts.push_back(Act::Refused(topic.clone(), reason));
    }

    fn settle(&mut self, topic: &Topic) {
        let carried = |leg: &Leg| !leg.is_open() || leg.carries(topic);
        let settles = self.heard.as_ref().is_some_and(carried)
            && self.next.as_ref().is_none_or(|next| carried(&next.leg));
        if let Some(settled @ false) = self.wanted.get_mut(topic)
            && settles
        {
            *settled = true;
            self.acts.push_back(Act::Settled(topic.clone()));
        }
    }

    /// After the legs have changed.
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

    /// Nobody is heard.
    fn unsettle_all(&mut self) {
        for settled in self.wanted.values_mut() {
            *settled = false;
        }
    }

    fn subscribe(&mut self, which: Which, topic: &Topic) {
        let token = self.count();
        if let Some(leg) = self.leg(which).filter(|leg| leg.is_open()) {
            leg.ask(topic.clone(), token);
            let (leg, topic) = (leg.id, topic.clone());
            self.acts.push_back(Act::Subscribe { leg, topic, token });
        }
    }
}

// === impl State: legs ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Heard,
    Next,
}

impl<M> State<M> {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn which(&self, leg: LegId) -> Option<Which> {
        if self.heard.as_ref().is_some_and(|heard| heard.id == leg) {
            Some(Which::Heard)
        } else if self.next.as_ref().is_some_and(|next| next.leg.id == leg) {
            Some(Which::Next)
        } else {
            None
        }
    }

    fn leg(&mut self, which: Which) -> Option<&mut Leg> {
        match which {
            Which::Heard => self.heard.as_mut(),
            Which::Next => self.next.as_mut().map(|next| &mut next.leg),
        }
    }
}
