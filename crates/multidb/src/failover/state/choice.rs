//! The choice itself: which database comes next, and when it is worth moving.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Entry, Suspicion};
use super::{Effect, State};
use crate::circuit::CircuitState;
use crate::database::DatabaseId;
use crate::event::SwitchReason;
use crate::strategy::Candidate;

/// The fallback interval becomes at most 32 times as long.
const MAX_DOUBLINGS: u32 = 5;

impl State {
    /// After anything that may have changed the answer.
    pub(super) fn choose(&mut self, now: Instant) {
        let closed = self
            .active
            .and_then(|id| self.get(id))
            .is_some_and(is_closed);
        if closed {
            self.down_since = None;
            return self.look_for_better(now);
        }
        self.down_since.get_or_insert(now);
        let reason = match self.active {
            Some(_) => SwitchReason::Failover,
            None => SwitchReason::Recovered,
        };
        let next = self.next();
        self.switch(next, reason, now);
    }

    /// Which database should take the commands if there were no active one.
    pub(super) fn next(&self) -> Option<DatabaseId> {
        self.next_of(|_| true)
    }

    /// Another healthy one.
    pub(super) fn next_without(&self, id: DatabaseId) -> Option<DatabaseId> {
        self.next_of(|entry| entry.database.id != id && is_closed(entry))
    }

    pub(super) fn has_alternative(&self, id: DatabaseId) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.database.id != id && is_closed(entry))
    }

    /// From tier to tier; within one, the strategy's choice.
    fn next_of(&self, may: impl Fn(&Entry) -> bool) -> Option<DatabaseId> {
        let tiers: [fn(&Entry) -> bool; 5] = [
            |entry| is_closed(entry) && entry.connected && !entry.is_refused(),
            |entry| is_closed(entry) && entry.connected,
            |entry| is_closed(entry) && !entry.is_refused(),
            is_closed,
            // Without a connection there is nothing to try.
            |entry| is_half_open(entry) && entry.connected,
        ];
        tiers
            .iter()
            .find_map(|tier| self.best(|entry| may(entry) && tier(entry)))
            .map(|candidate| candidate.id)
    }

    fn best(&self, may: impl Fn(&Entry) -> bool) -> Option<Candidate> {
        let candidates: Vec<Candidate> = self
            .entries
            .iter()
            .filter(|entry| may(entry))
            .map(|entry| entry.candidate(self.active == Some(entry.database.id)))
            .collect();
        let id = self.policy.strategy.database(&candidates)?;
        // What was not offered cannot be chosen.
        candidates.into_iter().find(|candidate| candidate.id == id)
    }

    /// A healthy one that is worth leaving the healthy active one for.
    fn better(&self) -> Option<DatabaseId> {
        let active = self.get(self.active?)?.candidate(true);
        let best = self.best(|entry| {
            is_closed(entry)
                && (entry.database.id == active.id || entry.connected && !entry.is_refused())
        })?;
        (best.id != active.id && self.policy.strategy.prefers(&best, &active)).then_some(best.id)
    }

    pub(super) fn fallback_deadline(&self) -> Option<Instant> {
        self.policy.fallback?;
        let better = self.get(self.better()?)?;
        better
            .suspicion
            .is_none()
            .then_some(self.no_fallback_before)
    }

    /// When it is time, asks the better one first.
    fn look_for_better(&mut self, now: Instant) {
        if self.policy.fallback.is_none() || now < self.no_fallback_before {
            return;
        }
        if let Some(id) = self.better()
            && let Some(entry) = self.get_mut(id)
            && entry.suspicion.is_none()
        {
            let mode = entry.ask(Suspicion::Fallback, now);
            self.effects.push(Effect::Confirm { id, mode });
        }
    }

    /// The better one is healthy.
    pub(super) fn fall_back(&mut self, id: DatabaseId, now: Instant) {
        if self.policy.fallback.is_some()
            && now >= self.no_fallback_before
            && self.better() == Some(id)
        {
            self.switch(Some(id), SwitchReason::Fallback, now);
        }
    }

    /// Weights or members changed: a better one takes over at once, interval or not.
    pub(super) fn reconsider(&mut self, now: Instant) {
        if let Some(id) = self.better() {
            self.switch(Some(id), SwitchReason::Reconfigured, now);
        }
    }

    /// The interval as it is after returns that did not last.
    pub(super) fn fallback_interval(&self) -> Option<Duration> {
        let interval = self.policy.fallback?;
        Some(interval.saturating_mul(1 << self.failed_returns.min(MAX_DOUBLINGS)))
    }

    /// Counts the last return as failed if its database failed within the interval that came before it.
    fn track_return(&mut self, next: Option<DatabaseId>, reason: SwitchReason, now: Instant) {
        let lasted = self
            .returned
            .take()
            .filter(|(id, _)| Some(*id) == self.active);
        if let (Some((_, since)), Some(interval)) = (lasted, self.fallback_interval())
            && reason == SwitchReason::Failover
        {
            self.failed_returns = if now.duration_since(since) < interval {
                self.failed_returns.saturating_add(1)
            } else {
                0
            };
        }
        if reason == SwitchReason::Fallback {
            self.returned = next.map(|id| (id, now));
        }
    }

    /// Whatever the reason: no fallback for one interval now.
    pub(super) fn switch(&mut self, next: Option<DatabaseId>, reason: SwitchReason, now: Instant) {
        if next != self.active {
            self.track_return(next, reason, now);
        }
        if let Some(interval) = self.fallback_interval()
            && (next != self.active || reason == SwitchReason::Initial)
        {
            self.no_fallback_before = now + interval;
        }
        if next.and_then(|id| self.get(id)).is_some_and(is_closed) {
            self.down_since = None;
        } else {
            self.down_since.get_or_insert(now);
        }
        if next == self.active {
            return;
        }
        let name = |id: Option<DatabaseId>| Some(self.get(id?)?.database.clone());
        let (old, new) = (name(self.active), name(next));
        self.active = next;
        self.since = now;
        self.generation += 1;
        self.changed = true;
        let none = new.is_none();
        self.effects.push(Effect::Switched { old, new, reason });
        if none {
            self.effects.push(Effect::AllDown);
        }
    }
}

fn is_closed(entry: &Entry) -> bool {
    entry.circuit.state() == CircuitState::Closed
}

fn is_half_open(entry: &Entry) -> bool {
    entry.circuit.state() == CircuitState::HalfOpen
}
