//! From one connection to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::conn::{Conn, ConnId, Token};
use super::{Action, Activation, Next, State, Which};
use crate::database::Database;
use crate::pubsub::item::{Gap, GapCause};
use crate::pubsub::topic::Topic;

impl<M> State<M> {
    /// The active database is this one, or there is none, and `changes` have been made to it ever.
    pub(in crate::pubsub) fn set_goal(&mut self, goal: Option<Database>, changes: u64) {
        // After a missed change it is not known which database was active in between.
        let missed = changes > self.changes + 1;
        self.changes = changes;
        let before = self
            .goal
            .take()
            .or(self.previous_goal.take())
            .filter(|_| !missed);
        match goal {
            None => self.previous_goal = before,
            Some(database) => {
                let activation = before.filter(|before| before.database.id == database.id);
                let new = || Activation {
                    database,
                    since: changes,
                };
                self.goal = Some(activation.unwrap_or_else(new));
            }
        }
        self.failures = 0;
        self.backoff = None;
        self.reconcile();
    }

    /// A connection is there. Everything wanted is subscribed. False when it is not needed any more.
    pub(in crate::pubsub) fn opened(&mut self, conn: ConnId, now: Instant) -> bool {
        if self.which(conn) != Some(Which::Next) {
            return false;
        }
        let wanted: Vec<Topic> = self.wanted.keys().cloned().collect();
        if let Some(next) = &mut self.next {
            next.conn.open(wanted.iter().cloned());
        }
        for topic in &wanted {
            self.subscribe(Which::Next, topic);
        }
        self.advance(now);
        true
    }

    /// A message came. Called in the order in which messages came over their connection.
    pub(in crate::pubsub) fn received(&mut self, conn: ConnId, message: M, now: Instant) {
        match self.which(conn) {
            Some(Which::Current) => self.actions.push_back(Action::Deliver(message)),
            Some(Which::Next) => self.hold(message, now),
            None => {}
        }
    }

    fn hold(&mut self, message: M, now: Instant) {
        let Some(next) = &mut self.next else {
            return;
        };
        if self.from.is_none() {
            // Nothing has been settled yet.
            return;
        }
        if next.held.len() < self.limits.held {
            next.held.push_back(message);
        } else if next.leaving {
            // Waiting longer for the old one would cost messages of the new one.
            self.take_over(now);
            self.actions.push_back(Action::Deliver(message));
        } else {
            next.dropped += 1;
        }
    }

    /// The current connection has ended its subscriptions, or will not.
    pub(in crate::pubsub) fn left(&mut self, conn: ConnId, now: Instant) {
        let leaving = self.next.as_ref().is_some_and(|next| next.leaving);
        if leaving && self.which(conn) == Some(Which::Current) {
            self.take_over(now);
        }
    }

    /// A connection broke, or could not be made. `random` is in `[0, 1)`.
    pub(in crate::pubsub) fn lost(&mut self, conn: ConnId, now: Instant, random: f64) {
        let leaving = self.next.as_ref().is_some_and(|next| next.leaving);
        match self.which(conn) {
            // It was being left: nothing more is expected of it.
            Some(Which::Current) if leaving => self.take_over(now),
            Some(Which::Current) => self.interrupt(now, random),
            // What it received has been held; it is delivered now, and then it is lost.
            Some(Which::Next) if leaving => {
                self.take_over(now);
                self.interrupt(now, random);
            }
            Some(Which::Next) => {
                self.close_next();
                self.fail(random);
                self.reconcile();
            }
            None => {}
        }
    }

    /// The pause is over.
    pub(in crate::pubsub) fn backoff_over(&mut self, token: Token) {
        if self.backoff == Some(token) {
            self.backoff = None;
            self.reconcile();
        }
    }

    fn interrupt(&mut self, now: Instant, random: f64) {
        let Some(current) = self.current.take() else {
            return;
        };
        self.actions.push_back(Action::Close { conn: current.id });
        self.actions
            .push_back(Action::Interrupted(current.activation.database));
        self.interrupted_since = Some(now);
        let held_out = self
            .current_since
            .is_some_and(|since| now - since >= self.limits.max_backoff);
        if held_out {
            self.failures = 0;
        } else if self.next.is_none() {
            self.fail(random);
        }
        self.unsettle_all();
        self.reconcile();
    }

    fn fail(&mut self, random: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.goal.is_none() {
            return;
        }
        let token = self.count();
        let doublings = (self.failures - 1).min(16);
        let whole = self.limits.first_backoff.saturating_mul(1 << doublings);
        let after = whole
            .min(self.limits.max_backoff)
            .mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
        self.backoff = Some(token);
        self.actions.push_back(Action::Backoff { after, token });
    }

    /// Compares the connections with the goal and acts on the difference.
    pub(super) fn reconcile(&mut self) {
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
        if let Some(current) = &self.current
            && current.activation.database.id == goal.database.id
        {
            self.stay(goal);
            return;
        }
        if let Some(next) = &mut self.next {
            if next.conn.activation.database.id == goal.database.id {
                next.conn.activation = goal;
                return;
            }
            self.close_next();
        }
        if self.backoff.is_some() {
            return;
        }
        let (conn, database) = (self.count(), goal.database.clone());
        self.next = Some(Next {
            conn: Conn::new(conn, goal),
            leaving: false,
            held: VecDeque::new(),
            dropped: 0,
        });
        self.actions.push_back(Action::Open { conn, database });
    }

    /// The current database is the active one, perhaps once more.
    fn stay(&mut self, goal: Activation) {
        self.close_next();
        self.backoff = None;
        let Some(current) = &mut self.current else {
            return;
        };
        if current.activation == goal {
            return;
        }
        current.activation = goal.clone();
        if let Some(from) = self.from.replace(goal.clone()) {
            self.actions.push_back(Action::Gap(Gap {
                from: from.database,
                to: goal.database,
                cause: GapCause::Moved,
                silence: Duration::ZERO,
                dropped: 0,
            }));
        }
    }

    /// Nothing is wanted.
    fn stop(&mut self) {
        self.close_next();
        if let Some(current) = self.current.take() {
            self.actions.push_back(Action::Close { conn: current.id });
        }
        self.from = None;
        self.interrupted_since = None;
        self.backoff = None;
        self.failures = 0;
    }

    fn close_next(&mut self) {
        if let Some(next) = self.next.take() {
            self.actions.push_back(Action::Close { conn: next.conn.id });
            // What waited for its confirmation need not wait any longer.
            self.settle_all();
        }
    }

    /// A ready connection takes over, once the current one has been left.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some(next) = &mut self.next else {
            return;
        };
        if next.leaving || !next.conn.is_ready() {
            return;
        }
        match &self.current {
            Some(current) => {
                next.leaving = true;
                let (conn, database) = (current.id, current.activation.database.clone());
                self.actions.push_back(Action::Leave { conn, database });
            }
            None => self.take_over(now),
        }
    }

    fn take_over(&mut self, now: Instant) {
        let Some(next) = self.next.take() else {
            return;
        };
        if let Some(old) = self.current.take() {
            self.actions.push_back(Action::Close { conn: old.id });
        }
        let activation = next.conn.activation.clone();
        let interrupted_since = self.interrupted_since.take();
        if let Some(from) = self.from.replace(activation.clone()) {
            self.actions.push_back(Action::Gap(Gap {
                cause: if from == activation {
                    GapCause::Reconnected
                } else {
                    GapCause::Moved
                },
                from: from.database,
                to: activation.database,
                silence: interrupted_since.map_or(Duration::ZERO, |since| now - since),
                dropped: next.dropped,
            }));
        }
        self.actions
            .extend(next.held.into_iter().map(Action::Deliver));
        let refused: Vec<(Topic, Arc<str>)> = next
            .conn
            .refused()
            .map(|(topic, reason)| (topic.clone(), Arc::clone(reason)))
            .collect();
        self.current = Some(next.conn);
        self.current_since = Some(now);
        for (topic, reason) in refused {
            self.refuse(&topic, reason, now);
        }
        self.settle_all();
        self.reconcile();
    }
}
