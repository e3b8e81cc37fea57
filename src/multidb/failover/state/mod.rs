//! Which database takes the commands, decided: no I/O, no clock, no randomness.
//!
//! Told what happened and when, it answers with [`Effect`]s. The rules, in the order they win:
//!
//! 1. A database is left when its circuit opens. It opens when a confirmation or a health round finds
//!    it unwell, when no connection can be made, or when a detector has seen enough *and somebody
//!    else could take over*: a database that answers its checks and has no alternative is kept.
//! 2. Who comes next is the strategy's choice among the closed ones: connected ones first, and ones
//!    that a failback check speaks against last. With nobody closed, a half-open one, on trial.
//! 3. From a well active one to a better: not before one fallback interval after the last change,
//!    and only after asking the better one once more.

mod choice;
mod entry;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(in crate::multidb) use entry::Newcomer;
use entry::{Doubt, Entry};

use crate::multidb::circuit::{CircuitState, Episode};
use crate::multidb::database::{Database, DatabaseId};
use crate::multidb::detector::FailureDetector;
use crate::multidb::error::Error;
use crate::multidb::event::SwitchReason;
use crate::multidb::health::Report;
use crate::multidb::outcome::FailureKind;
use crate::multidb::status::{DatabaseStatus, Status};
use crate::multidb::strategy::FailoverStrategy;

/// How long a database that has just been found well is believed without asking again. Failures
/// meanwhile are counted.
const BELIEVED: Duration = Duration::from_millis(100);

/// The rules that can be set.
#[derive(Debug)]
pub(in crate::multidb) struct Policy {
    pub(in crate::multidb) success_threshold: u32,
    pub(in crate::multidb) last_resort: bool,
    pub(in crate::multidb) fallback: Option<Duration>,
    pub(in crate::multidb) strategy: Arc<dyn FailoverStrategy>,
    pub(in crate::multidb) detectors: Vec<Arc<dyn FailureDetector>>,
}

/// What follows from a decision.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::multidb) enum Effect {
    /// Another one takes the commands.
    Switched {
        old: Option<Database>,
        new: Option<Database>,
        reason: SwitchReason,
    },
    /// A circuit changed.
    Circuit {
        database: Database,
        from: CircuitState,
        to: CircuitState,
        cause: Arc<str>,
    },
    /// Nobody takes them.
    AllDown,
    /// Ask it, at once. `anew`: over a connection of now.
    Confirm { id: DatabaseId, anew: bool },
    /// Whoever waits for the decision about it need not any longer.
    Settled(DatabaseId),
    /// Its connection is of no use any more. `silent`: no answer will come.
    Abandon { id: DatabaseId, silent: bool },
    /// Ask it in turn, at once.
    Poke(DatabaseId),
}

/// Who takes the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::multidb) struct Chosen {
    pub(in crate::multidb) id: DatabaseId,
    pub(in crate::multidb) episode: Episode,
    /// On trial: only so many at once.
    pub(in crate::multidb) trial: bool,
}

/// Everything there is to decide about.
#[derive(Debug)]
pub(in crate::multidb) struct State {
    policy: Policy,
    entries: Vec<Entry>,
    active: Option<DatabaseId>,
    since: Instant,
    generation: u64,
    no_fallback_before: Instant,
    /// Since when no trusted one takes the commands; a trial that fails does not interrupt it.
    down_since: Option<Instant>,
    effects: Vec<Effect>,
    changed: bool,
    begun: bool,
}

impl State {
    pub(in crate::multidb) fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            entries: Vec::new(),
            active: None,
            since: now,
            generation: 0,
            no_fallback_before: now,
            down_since: None,
            effects: Vec::new(),
            changed: true,
            begun: false,
        }
    }

    // ---- what is to be done, and how things stand

    pub(in crate::multidb) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether anything that is shown changed since the last call.
    pub(in crate::multidb) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(in crate::multidb) fn chosen(&self) -> Option<Chosen> {
        let entry = self.get(self.active?)?;
        Some(Chosen {
            id: entry.database.id,
            episode: entry.circuit.episode(),
            trial: entry.circuit.state() != CircuitState::Closed,
        })
    }

    /// The active one, since when, and how many changes there have been.
    pub(in crate::multidb) fn active(&self) -> (Option<Database>, Instant, u64) {
        let database = self.active.and_then(|id| self.get(id));
        let database = database.map(|entry| entry.database.clone());
        (database, self.since, self.generation)
    }

    /// Since when no trusted one takes the commands.
    pub(in crate::multidb) fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// Nobody is trusted: whoever is well is wanted as soon as possible.
    pub(in crate::multidb) fn is_urgent(&self) -> bool {
        self.policy.last_resort && self.nobody_is_closed()
    }

    /// When [`tick`](Self::tick) will have something to do.
    pub(in crate::multidb) fn deadline(&self) -> Option<Instant> {
        let circuits = self.entries.iter().filter_map(|e| e.circuit.deadline());
        circuits.chain(self.fallback_deadline()).min()
    }

    pub(in crate::multidb) fn status(&self) -> Status {
        let mut databases: Vec<DatabaseStatus> = self
            .entries
            .iter()
            .map(|entry| entry.status(self.active == Some(entry.database.id)))
            .collect();
        databases.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        Status {
            databases,
            active: self.active,
            since: self.since,
        }
    }

    // ---- what happened

    /// So many commands succeeded.
    pub(in crate::multidb) fn succeeded(&mut self, id: DatabaseId, count: u64, now: Instant) {
        if count > 0
            && let Some(entry) = self.get_mut(id)
        {
            entry.succeeded(count, now);
        }
    }

    /// A command failed. True: the decision has been made; false: it comes as [`Effect::Settled`].
    pub(in crate::multidb) fn failed(
        &mut self,
        id: DatabaseId,
        episode: Episode,
        kind: FailureKind,
        now: Instant,
    ) -> bool {
        let has_alternative = self.has_alternative(id);
        let Some(entry) = self.get_mut(id) else {
            return true;
        };
        if entry.circuit.episode() != episode {
            // It was sent before the circuit last changed, and that change has taken care of it.
            return true;
        }
        self.changed = true;
        let Some(entry) = self.get_mut(id) else {
            return true;
        };
        entry.failures += 1;
        match entry.circuit.state() {
            CircuitState::Open => true,
            CircuitState::HalfOpen => {
                self.open(
                    id,
                    &format!("failed on trial: {}", kind.as_str()),
                    kind.is_silence(),
                    now,
                );
                true
            }
            CircuitState::Closed => {
                let enough = entry.is_enough(kind, now);
                if enough && has_alternative {
                    let cause = format!("too many failures, the last: {}", kind.as_str());
                    self.open(id, &cause, kind.is_silence(), now);
                    return true;
                }
                if enough {
                    entry.forget();
                }
                self.doubt(id, kind, now)
            }
        }
    }

    /// A command on trial succeeded.
    pub(in crate::multidb) fn trial_succeeded(
        &mut self,
        id: DatabaseId,
        episode: Episode,
        now: Instant,
    ) {
        self.change(id, "well on trial", |entry| {
            entry.circuit.trial_succeeded(episode, now)
        });
        self.choose(now);
    }

    pub(in crate::multidb) fn link_up(&mut self, id: DatabaseId, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        entry.connected = true;
        let newcomer = std::mem::take(&mut entry.newcomer);
        self.changed = true;
        self.choose(now);
        if newcomer {
            self.reconsider(now);
        }
    }

    pub(in crate::multidb) fn link_lost(&mut self, id: DatabaseId, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        entry.connected = false;
        let closed = entry.circuit.state() == CircuitState::Closed;
        self.changed = true;
        if closed {
            self.doubt(id, FailureKind::Dropped, now);
        }
    }

    pub(in crate::multidb) fn connect_failed(&mut self, id: DatabaseId, error: &str, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        if entry.connected {
            entry.connected = false;
            self.changed = true;
        }
        self.open(id, error, true, now);
    }

    /// The answer to a [`Effect::Confirm`].
    pub(in crate::multidb) fn confirmed(&mut self, id: DatabaseId, report: &Report, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        let Some(doubt) = entry.doubt.take() else {
            // Decided without it.
            return;
        };
        if let Some(why) = &report.unhealthy {
            // Whoever waits is told by this.
            self.open(id, why, doubt.is_silence(), now);
            self.effects.push(Effect::Settled(id));
            return;
        }
        entry.believed_until = now + BELIEVED;
        if entry.connected && doubt.blames_connection(entry.successes) {
            entry.connected = false;
            let silent = doubt.is_silence();
            self.effects.push(Effect::Abandon { id, silent });
            self.changed = true;
        }
        self.effects.push(Effect::Settled(id));
        if doubt == Doubt::Fallback {
            self.fall_back(id, now);
        }
    }

    /// A round ended.
    pub(in crate::multidb) fn health(&mut self, id: DatabaseId, report: &Report, now: Instant) {
        let nobody_is_closed = self.nobody_is_closed();
        let last_resort = self.policy.last_resort;
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        entry.heard(report, now);
        let episode = entry.circuit.episode();
        let fresh = report.started >= entry.circuit.since();
        match (entry.circuit.state(), &report.unhealthy) {
            _ if !fresh => {}
            (CircuitState::Open, Some(_)) | (CircuitState::Closed, None) => {}
            (_, Some(why)) => self.open(id, &why.clone(), false, now),
            (CircuitState::HalfOpen, None) => {
                let closed = self.change(id, "well", |entry| {
                    entry.circuit.trial_succeeded(episode, now)
                });
                if !closed {
                    self.effects.push(Effect::Poke(id));
                }
            }
            (CircuitState::Open, None) => {
                if last_resort && nobody_is_closed {
                    self.change(id, "well, and nobody else is", |entry| {
                        entry.circuit.try_early(now)
                    });
                    self.effects.push(Effect::Poke(id));
                }
            }
        }
        self.changed = true;
        self.choose(now);
    }

    /// Time passed.
    pub(in crate::multidb) fn tick(&mut self, now: Instant) {
        for id in self.ids() {
            if self.change(id, "its grace is over", |entry| entry.circuit.tick(now)) {
                self.effects.push(Effect::Poke(id));
            }
        }
        self.choose(now);
    }

    // ---- what somebody wants

    pub(in crate::multidb) fn add(&mut self, newcomer: Newcomer, now: Instant) {
        let detectors = &self.policy.detectors;
        let threshold = self.policy.success_threshold;
        self.entries
            .push(Entry::new(newcomer, detectors, threshold, now));
        self.changed = true;
        if self.begun {
            self.choose(now);
        }
    }

    /// The first choice.
    pub(in crate::multidb) fn begin(&mut self, now: Instant) {
        self.begun = true;
        let next = self.next();
        self.switch(next, SwitchReason::Initial, now);
    }

    pub(in crate::multidb) fn remove(&mut self, id: DatabaseId, now: Instant) -> Result<(), Error> {
        let entry = self.get(id).ok_or(Error::UnknownDatabase(id))?;
        let database = entry.database.clone();
        if self.active == Some(id) || self.entries.len() == 1 {
            let next = self.next_without(id);
            if next.is_none() {
                return Err(Error::StillNeeded(database));
            }
            self.switch(next, SwitchReason::Reconfigured, now);
        }
        self.entries.retain(|entry| entry.database.id != id);
        self.effects.push(Effect::Settled(id));
        self.changed = true;
        Ok(())
    }

    pub(in crate::multidb) fn set_weight(
        &mut self,
        id: DatabaseId,
        weight: f64,
        now: Instant,
    ) -> Result<(), Error> {
        let entry = self.get_mut(id).ok_or(Error::UnknownDatabase(id))?;
        entry.weight = weight;
        self.changed = true;
        self.reconsider(now);
        Ok(())
    }

    pub(in crate::multidb) fn set_active(
        &mut self,
        id: DatabaseId,
        report: &Report,
        now: Instant,
    ) -> Result<(), Error> {
        let entry = self.get_mut(id).ok_or(Error::UnknownDatabase(id))?;
        entry.heard(report, now);
        let refused = entry.refusal(report);
        let database = entry.database.clone();
        self.changed = true;
        if let Some(reason) = refused {
            return Err(Error::Unhealthy { database, reason });
        }
        self.switch(Some(id), SwitchReason::Manual, now);
        Ok(())
    }

    pub(in crate::multidb) fn force(&mut self, id: DatabaseId, now: Instant) -> Result<(), Error> {
        self.get(id).ok_or(Error::UnknownDatabase(id))?;
        self.change(id, "forced", |entry| entry.circuit.force_close(now));
        self.switch(Some(id), SwitchReason::Forced, now);
        Ok(())
    }

    pub(in crate::multidb) fn add_detector(&mut self, detector: Arc<dyn FailureDetector>) {
        for entry in &mut self.entries {
            entry.detectors.push(detector.fresh());
        }
        self.policy.detectors.push(detector);
    }

    pub(in crate::multidb) fn set_fallback(&mut self, interval: Option<Duration>, now: Instant) {
        self.policy.fallback = interval.filter(|interval| !interval.is_zero());
        if let Some(interval) = self.policy.fallback {
            self.no_fallback_before = self.since + interval;
        }
        self.choose(now);
    }

    // ---- within

    /// Opens a circuit; without effect if it is open.
    fn open(&mut self, id: DatabaseId, cause: &str, silent: bool, now: Instant) {
        if !self.change(id, cause, |entry| entry.circuit.open(now)) {
            return;
        }
        if let Some(entry) = self.get_mut(id)
            && std::mem::take(&mut entry.connected)
        {
            self.effects.push(Effect::Abandon { id, silent });
        }
        self.choose(now);
    }

    /// Asks it, unless that is under way or has just been done. True: nothing to wait for.
    fn doubt(&mut self, id: DatabaseId, kind: FailureKind, now: Instant) -> bool {
        let Some(entry) = self.get_mut(id) else {
            return true;
        };
        if entry.doubt.is_some() {
            return false;
        }
        if now < entry.believed_until {
            return true;
        }
        let doubt = Doubt::Failed(kind, entry.successes);
        let anew = doubt.wants_another_connection();
        entry.doubt = Some(doubt);
        self.effects.push(Effect::Confirm { id, anew });
        false
    }

    /// Changes a circuit, and says so. True: it changed.
    fn change(
        &mut self,
        id: DatabaseId,
        cause: &str,
        change: impl FnOnce(&mut Entry) -> bool,
    ) -> bool {
        let Some(entry) = self.get_mut(id) else {
            return false;
        };
        let from = entry.circuit.state();
        if !change(entry) {
            return false;
        }
        let to = entry.circuit.state();
        entry.forget();
        let decided = entry.doubt.take().is_some();
        let database = entry.database.clone();
        if decided {
            self.effects.push(Effect::Settled(id));
        }
        self.effects.push(Effect::Circuit {
            database,
            from,
            to,
            cause: cause.into(),
        });
        self.changed = true;
        true
    }

    fn get(&self, id: DatabaseId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.database.id == id)
    }

    fn get_mut(&mut self, id: DatabaseId) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.database.id == id)
    }

    fn ids(&self) -> Vec<DatabaseId> {
        self.entries.iter().map(|entry| entry.database.id).collect()
    }

    fn nobody_is_closed(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| entry.circuit.state() != CircuitState::Closed)
    }
}
