//! Which database takes the commands, decided: no I/O, no clock, no randomness.
//!
//! Told what happened and when, it answers with [`Effect`]s. The rules, in the order they win:
//!
//! 1. A database is left when its circuit opens. It opens when a confirmation or a health round finds
//!    it unhealthy, when no connection can be made, or when a detector has seen enough *and another
//!    could take over*: a database that answers its checks and has no alternative is kept.
//! 2. Who comes next is the strategy's choice among the closed ones: connected ones first, and ones
//!    that a failback check objects to last. With no circuit closed, a half-open one, on trial.
//! 3. From a healthy active one to a better: not before one fallback interval after the last change,
//!    and only after asking the better one once more. A return that does not last doubles the interval
//!    before the next: what the checks cannot see must not make users move for ever.

mod choice;
mod entry;
mod links;
mod queries;
mod requests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use entry::ConfirmMode;
pub(crate) use entry::NewMember;
use entry::{Entry, Suspicion};

use crate::circuit::{CircuitState, Episode};
use crate::database::{Database, DatabaseId};
use crate::detector::FailureDetector;
use crate::event::SwitchReason;
use crate::health::Report;
use crate::member::LinkId;
use crate::outcome::FailureKind;

use crate::strategy::FailoverStrategy;

/// How long a database that has just been found healthy is not asked again. Failures
/// meanwhile are counted.
const CONFIRMED_FOR: Duration = Duration::from_millis(100);

/// The rules that can be set.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) success_threshold: u32,
    pub(crate) last_resort: bool,
    pub(crate) fallback: Option<Duration>,
    pub(crate) strategy: Arc<dyn FailoverStrategy>,
    pub(crate) detectors: Vec<Arc<dyn FailureDetector>>,
}

/// What follows from a decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
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
    /// None takes them.
    AllDown,
    /// Ask it, at once.
    Confirm { id: DatabaseId, mode: ConfirmMode },
    /// The decision about it has been made: commands that wait for it go on.
    Settled(DatabaseId),
    /// Its connection is not used any more. `silent`: no answer will come.
    Abandon { id: DatabaseId, silent: bool },
    /// Ask it in turn, at once.
    Wake(DatabaseId),
}

/// The database that takes the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) id: DatabaseId,
    pub(crate) episode: Episode,
    /// On trial: only so many at once.
    pub(crate) trial: bool,
}

/// Everything there is to decide about.
#[derive(Debug)]
pub(crate) struct State {
    policy: Policy,
    entries: Vec<Entry>,
    active: Option<DatabaseId>,
    since: Instant,
    generation: u64,
    no_fallback_before: Instant,
    /// The last return that still lasts: to whom, when.
    returned: Option<(DatabaseId, Instant)>,
    /// Returns in a row that did not last.
    failed_returns: u32,
    /// Since when no trusted one takes the commands; a trial that fails does not interrupt it.
    down_since: Option<Instant>,
    effects: Vec<Effect>,
    changed: bool,
    begun: bool,
}

impl State {
    pub(crate) fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            entries: Vec::new(),
            active: None,
            since: now,
            generation: 0,
            no_fallback_before: now,
            returned: None,
            failed_returns: 0,
            down_since: None,
            effects: Vec::new(),
            changed: true,
            begun: false,
        }
    }

    /// So many commands succeeded.
    pub(crate) fn succeeded(&mut self, id: DatabaseId, count: u64, now: Instant) {
        if count > 0
            && let Some(entry) = self.get_mut(id)
        {
            entry.succeeded(count, now);
        }
    }

    /// A command failed. True: the decision has been made; false: it comes as [`Effect::Settled`].
    pub(crate) fn failed(
        &mut self,
        id: DatabaseId,
        episode: Episode,
        link: LinkId,
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
                let enough = entry.is_new_failure(kind, link) && entry.is_enough(kind, now);
                if (enough || kind.is_refusal()) && has_alternative {
                    let cause = if enough {
                        format!("too many failures, the last: {}", kind.as_str())
                    } else {
                        format!("it will not serve: {}", kind.as_str())
                    };
                    self.open(id, &cause, kind.is_silence(), now);
                    return true;
                }
                if enough {
                    entry.forget();
                }
                self.suspect(id, |successes| Suspicion::Failed(kind, successes), now)
            }
        }
    }

    /// A command on trial succeeded.
    pub(crate) fn trial_succeeded(&mut self, id: DatabaseId, episode: Episode, now: Instant) {
        self.change(id, "healthy on trial", |entry| {
            entry.circuit.trial_succeeded(episode, now)
        });
        self.choose(now);
    }

    /// The answer to a [`Effect::Confirm`].
    pub(crate) fn confirmed(&mut self, id: DatabaseId, report: &Report, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        if report.started < entry.asked_at {
            // The answer to an earlier confirmation than the pending one.
            return;
        }
        let Some(suspicion) = entry.suspicion.take() else {
            // Decided without it.
            return;
        };
        if let Some(why) = &report.unhealthy {
            // Commands that wait go on with this.
            self.open(id, why, suspicion.is_silence(), now);
            self.effects.push(Effect::Settled(id));
            return;
        }
        entry.confirmed_until = now + CONFIRMED_FOR;
        if entry.connected && suspicion.blames_connection(entry.successes) {
            entry.connected = false;
            // Answers to commands that wait longer may still come over it.
            let silent = suspicion.is_silence() && !matches!(suspicion, Suspicion::Waited(_));
            self.effects.push(Effect::Abandon { id, silent });
            self.changed = true;
        }
        self.effects.push(Effect::Settled(id));
        if suspicion == Suspicion::Fallback {
            self.fall_back(id, now);
        }
    }

    /// A round ended.
    pub(crate) fn health(&mut self, id: DatabaseId, report: &Report, now: Instant) {
        let none_is_closed = self.none_is_closed();
        let last_resort = self.policy.last_resort;
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        entry.record_health(report, now);
        let episode = entry.circuit.episode();
        let fresh = report.started >= entry.circuit.since();
        match (entry.circuit.state(), &report.unhealthy) {
            _ if !fresh => {}
            (CircuitState::Open, Some(_)) | (CircuitState::Closed, None) => {}
            (_, Some(why)) => self.open(id, &why.clone(), false, now),
            (CircuitState::HalfOpen, None) => {
                let closed = self.change(id, "healthy", |entry| {
                    entry.circuit.trial_succeeded(episode, now)
                });
                if !closed {
                    self.effects.push(Effect::Wake(id));
                }
            }
            (CircuitState::Open, None) => {
                if last_resort && none_is_closed {
                    self.change(id, "healthy, and no other is", |entry| {
                        entry.circuit.try_early(now)
                    });
                    self.effects.push(Effect::Wake(id));
                }
            }
        }
        self.changed = true;
        self.choose(now);
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        for id in self.ids() {
            if self.change(id, "its grace is over", |entry| entry.circuit.tick(now)) {
                self.effects.push(Effect::Wake(id));
            }
        }
        self.choose(now);
    }

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
    fn suspect(&mut self, id: DatabaseId, why: impl Fn(u64) -> Suspicion, now: Instant) -> bool {
        let Some(entry) = self.get_mut(id) else {
            return true;
        };
        if entry.suspicion.is_some() {
            return false;
        }
        if now < entry.confirmed_until {
            return true;
        }
        let mode = entry.ask(why(entry.successes), now);
        self.effects.push(Effect::Confirm { id, mode });
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
        let decided = entry.suspicion.take().is_some();
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

    fn none_is_closed(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| entry.circuit.state() != CircuitState::Closed)
    }
}
