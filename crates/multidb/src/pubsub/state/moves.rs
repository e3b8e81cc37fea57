//! From one leg to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::leg::{Leg, LegId, Token};
use super::{Act, Next, Place, State, Which};
use crate::database::Database;
use crate::pubsub::item::{Gap, GapCause};
use crate::pubsub::topic::Topic;

impl<M> State<M> {
    /// The active database is this one, or there is none, and `changes` have been made to it ever.
    pub(in crate::pubsub) fn goes(&mut self, goal: Option<Database>, changes: u64) {
        // Who misses a change cannot know who was active in between.
        let missed = changes > self.changes + 1;
        self.changes = changes;
        let before = self.goal.take().or(self.vacated.take()).filter(|_| !missed);
        match goal {
            None => self.vacated = before,
            Some(database) => {
                let place = before.filter(|before| before.database.id == database.id);
                let new = || Place {
                    database,
                    since: changes,
                };
                self.goal = Some(place.unwrap_or_else(new));
            }
        }
        self.failures = 0;
        self.rest = None;
        self.steer();
    }

    /// A connection is there. Everything wanted is asked of it. False when nobody needs it any more.
    pub(in crate::pubsub) fn opened(&mut self, leg: LegId, now: Instant) -> bool {
        if self.which(leg) != Some(Which::Next) {
            return false;
        }
        let wanted: Vec<Topic> = self.wanted.keys().cloned().collect();
        if let Some(next) = &mut self.next {
            next.leg.open(wanted.iter().cloned());
        }
        for topic in &wanted {
            self.subscribe(Which::Next, topic);
        }
        self.advance(now);
        true
    }

    /// A message came. Said in the order in which it came over its leg.
    pub(in crate::pubsub) fn hear(&mut self, leg: LegId, message: M, now: Instant) {
        match self.which(leg) {
            Some(Which::Heard) => self.acts.push_back(Act::Deliver(message)),
            Some(Which::Next) => self.hold(message, now),
            None => {}
        }
    }

    fn hold(&mut self, message: M, now: Instant) {
        let Some(next) = &mut self.next else {
            return;
        };
        if self.from.is_none() {
            // Nobody has been promised anything yet.
            return;
        }
        if next.held.len() < self.limits.held {
            next.held.push_back(message);
        } else if next.leaving {
            // Waiting longer for the old one would cost messages of the new one.
            self.take_over(now);
            self.acts.push_back(Act::Deliver(message));
        } else {
            next.dropped += 1;
        }
    }

    /// The heard leg has given its last sign, or will give none.
    pub(in crate::pubsub) fn left(&mut self, leg: LegId, now: Instant) {
        let leaving = self.next.as_ref().is_some_and(|next| next.leaving);
        if leaving && self.which(leg) == Some(Which::Heard) {
            self.take_over(now);
        }
    }

    /// A connection broke, or could not be made. `dice` is in `[0, 1)`.
    pub(in crate::pubsub) fn died(&mut self, leg: LegId, now: Instant, dice: f64) {
        let leaving = self.next.as_ref().is_some_and(|next| next.leaving);
        match self.which(leg) {
            // Being left, it has nothing more to say.
            Some(Which::Heard) if leaving => self.take_over(now),
            Some(Which::Heard) => self.fall_silent(now, dice),
            // What it brought has been held for its turn, which comes now and is over.
            Some(Which::Next) if leaving => {
                self.take_over(now);
                self.fall_silent(now, dice);
            }
            Some(Which::Next) => {
                self.close_next();
                self.fail(dice);
                self.steer();
            }
            None => {}
        }
    }

    /// The pause is over.
    pub(in crate::pubsub) fn rested(&mut self, token: Token) {
        if self.rest == Some(token) {
            self.rest = None;
            self.steer();
        }
    }

    fn fall_silent(&mut self, now: Instant, dice: f64) {
        let Some(heard) = self.heard.take() else {
            return;
        };
        self.acts.push_back(Act::Close { leg: heard.id });
        self.acts.push_back(Act::Interrupted(heard.place.database));
        self.silent_since = Some(now);
        let held_out = self
            .heard_since
            .is_some_and(|since| now - since >= self.limits.longest_rest);
        if held_out {
            self.failures = 0;
        } else if self.next.is_none() {
            self.fail(dice);
        }
        self.unsettle_all();
        self.steer();
    }

    fn fail(&mut self, dice: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.goal.is_none() {
            return;
        }
        let token = self.count();
        let doublings = (self.failures - 1).min(16);
        let whole = self.limits.first_rest.saturating_mul(1 << doublings);
        let after = whole
            .min(self.limits.longest_rest)
            .mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0);
        self.rest = Some(token);
        self.acts.push_back(Act::Rest { after, token });
    }

    /// Looks where it should be heading and turns there.
    pub(super) fn steer(&mut self) {
        if self.wanted.is_empty() {
            self.stop();
            return;
        }
        let leaving = self.next.as_ref().is_some_and(|next| next.leaving);
        if leaving {
            return;
        }
        let Some(goal) = self.goal.clone() else {
            self.close_next();
            return;
        };
        if let Some(heard) = &self.heard
            && heard.place.database.id == goal.database.id
        {
            self.stay(goal);
            return;
        }
        if let Some(next) = &mut self.next {
            if next.leg.place.database.id == goal.database.id {
                next.leg.place = goal;
                return;
            }
            self.close_next();
        }
        if self.rest.is_some() {
            return;
        }
        let (leg, database) = (self.count(), goal.database.clone());
        self.next = Some(Next {
            leg: Leg::new(leg, goal),
            leaving: false,
            held: VecDeque::new(),
            dropped: 0,
        });
        self.acts.push_back(Act::Open { leg, database });
    }

    /// The heard database is the active one, perhaps once more.
    fn stay(&mut self, goal: Place) {
        self.close_next();
        self.rest = None;
        let Some(heard) = &mut self.heard else {
            return;
        };
        if heard.place == goal {
            return;
        }
        heard.place = goal.clone();
        if let Some(from) = self.from.replace(goal.clone()) {
            self.acts.push_back(Act::Gap(Gap {
                from: from.database,
                to: goal.database,
                cause: GapCause::Moved,
                silence: Duration::ZERO,
                dropped: 0,
            }));
        }
    }

    /// Nobody wants anything.
    fn stop(&mut self) {
        self.close_next();
        if let Some(heard) = self.heard.take() {
            self.acts.push_back(Act::Close { leg: heard.id });
        }
        self.from = None;
        self.silent_since = None;
        self.rest = None;
        self.failures = 0;
    }

    fn close_next(&mut self) {
        if let Some(next) = self.next.take() {
            self.acts.push_back(Act::Close { leg: next.leg.id });
            // What waited for its confirmation need not wait any longer.
            self.settle_all();
        }
    }

    /// A ready leg takes over, once the heard one has been left.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some(next) = &mut self.next else {
            return;
        };
        if next.leaving || !next.leg.is_ready() {
            return;
        }
        match &self.heard {
            Some(heard) => {
                next.leaving = true;
                let (leg, database) = (heard.id, heard.place.database.clone());
                self.acts.push_back(Act::Leave { leg, database });
            }
            None => self.take_over(now),
        }
    }

    fn take_over(&mut self, now: Instant) {
        let Some(next) = self.next.take() else {
            return;
        };
        if let Some(old) = self.heard.take() {
            self.acts.push_back(Act::Close { leg: old.id });
        }
        let place = next.leg.place.clone();
        let silent_since = self.silent_since.take();
        if let Some(from) = self.from.replace(place.clone()) {
            self.acts.push_back(Act::Gap(Gap {
                cause: if from == place {
                    GapCause::Reconnected
                } else {
                    GapCause::Moved
                },
                from: from.database,
                to: place.database,
                silence: silent_since.map_or(Duration::ZERO, |since| now - since),
                dropped: next.dropped,
            }));
        }
        self.acts.extend(next.held.into_iter().map(Act::Deliver));
        let refused: Vec<(Topic, Arc<str>)> = next
            .leg
            .refused()
            .map(|(topic, reason)| (topic.clone(), Arc::clone(reason)))
            .collect();
        self.heard = Some(next.leg);
        self.heard_since = Some(now);
        for (topic, reason) in refused {
            self.refuse(&topic, reason, now);
        }
        self.settle_all();
        self.steer();
    }
}
