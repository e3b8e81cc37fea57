//! What an endpoint's actor decides: pure, time is an argument.

mod effects;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use effects::{Effects, Grant, Intervals};

use super::Refusal;
use super::breaker::Breakers;
use super::report::{Phase, Report};
use crate::backend::{Answer, Fault, Probe};
use crate::domain::ModelName;
use crate::fleet::lease::Outcome;
use crate::fleet::slot_pool::{SlotPool, Taken};
use crate::protocol::RunningModel;
use crate::upstream::Failure;

/// One slow answer may be an exception; after two in a row the server counts as down.
const MAX_SILENT: u32 = 2;

/// How often a server that loads is asked whether it has loaded: its other cold requests wait for
/// that, and an answer that is not streamed says so only at its end.
const LOAD_WATCH: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct State {
    report: Report,
    /// Whether a listed model may have to be loaded first.
    loads: bool,
    warm: HashMap<ModelName, Instant>,
    loading: Option<Arc<SlotPool>>,
    breakers: Breakers,
    silent: u32,
    misses: u32,
}

impl State {
    /// Starts from what was known: nothing, or the last report of an actor that crashed.
    pub(super) fn new(
        mut report: Report,
        loads: bool,
        loading: Option<Arc<SlotPool>>,
        now: Instant,
    ) -> Self {
        // The failures on record were the predecessor's state.
        report.evidence = Arc::default();
        let warm = report
            .warm
            .iter()
            .map(|model| (model.clone(), now))
            .collect();
        let loading = loading.filter(|pool| pool.in_flight() > 0);
        Self {
            report,
            loads,
            warm,
            loading,
            breakers: Breakers::default(),
            silent: 0,
            misses: 0,
        }
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Serial of the pool whose model is being loaded; 0 when none is.
    pub(super) fn loading(&self) -> u64 {
        self.loading.as_ref().map_or(0, |pool| pool.serial())
    }

    pub(super) fn is_up(&self) -> bool {
        self.report.phase == Phase::Up
    }

    /// Decides on a slot.
    pub(super) fn acquire(
        &mut self,
        pool: &Arc<SlotPool>,
        now: Instant,
    ) -> (Result<(Grant, Taken), Refusal>, Effects) {
        let mut effects = Effects::default();
        if !self.is_up() {
            return (Err(Refusal::Down), effects);
        }
        let model = pool.model();
        let suspect = self.breakers.is_suspect(model);
        let on_trial = suspect && !self.breakers.is_open(model, now);
        let slots = if on_trial { 1 } else { pool.slots() };
        let Some(slot) = pool.take(slots) else {
            return (Err(Refusal::Full), effects);
        };
        let grant = |cold, watched| Ok((Grant { cold, watched }, slot));
        if self
            .loading
            .as_ref()
            .is_some_and(|loading| loading.serial() == pool.serial())
        {
            return (grant(false, true), effects);
        }
        if self.is_warm(model) {
            return (grant(false, suspect), effects);
        }
        if self.loading.is_some() {
            return (Err(Refusal::Loading), effects);
        }
        self.loading = Some(Arc::clone(pool));
        effects.changed = true;
        effects.ask.push(Probe::Loaded);
        self.publish_warm();
        (grant(true, true), effects)
    }

    fn is_warm(&self, model: &ModelName) -> bool {
        !self.loads || self.warm.contains_key(model)
    }

    /// Whether requests take the slots of this pool directly: nothing is to be decided.
    pub(super) fn is_direct(&self, pool: &SlotPool) -> bool {
        let model = pool.model();
        self.is_up()
            && self.is_warm(model)
            && self.loading() != pool.serial()
            && !self.breakers.is_suspect(model)
    }

    /// An answer has begun: the model is loaded and works.
    pub(super) fn answered(&mut self, pool: &SlotPool, now: Instant) -> Effects {
        let mut effects = Effects::default();
        if self
            .loading
            .as_ref()
            .is_some_and(|loading| loading.serial() == pool.serial())
        {
            self.loading = None;
            effects.changed = true;
        }
        if self.breakers.worked(pool.model()) {
            // From one request at a time back to all its slots: requests that wait are told.
            pool.set_failing(false);
            self.publish_evidence();
            effects.changed = true;
        }
        if self.loads {
            effects.changed |= self.warm.insert(pool.model().clone(), now).is_none();
        }
        if effects.changed {
            self.publish_warm();
            effects.ask.push(Probe::Loaded);
        }
        effects
    }

    /// A watched or failed lease has ended.
    pub(super) fn released(&mut self, pool: &SlotPool, outcome: Outcome, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let was_loading = self
            .loading
            .as_ref()
            .is_some_and(|loading| loading.serial() == pool.serial());
        if was_loading && (pool.in_flight() == 0 || matches!(outcome, Outcome::Failed(_))) {
            self.loading = None;
            self.publish_warm();
            effects.changed = true;
        }
        let Outcome::Failed(fault) = outcome else {
            return effects;
        };
        match fault {
            Fault::Unreachable => self.down(now, "connection refused", &mut effects),
            Fault::Missing => self.forget(pool.model(), &mut effects),
            // It serves what it has.
            Fault::Unsupported => {}
            Fault::Broken | Fault::Silent | Fault::Status | Fault::Busy => {
                self.breakers.failed(pool.model(), fault, now);
                effects.changed |= self.publish_evidence();
                effects.reconsider = true;
                pool.set_failing(true);
                if matches!(fault, Fault::Broken | Fault::Silent) {
                    effects.ask.push(Probe::Alive);
                }
            }
        }
        effects
    }

    /// A probe's answer.
    pub(super) fn probed(
        &mut self,
        answer: Result<Answer, Failure>,
        probe: Probe,
        asked: Instant,
        now: Instant,
    ) -> Effects {
        let mut effects = Effects::default();
        match answer {
            Ok(Answer::Alive) => self.alive(now, &mut effects),
            Ok(Answer::Models(models)) => {
                effects.changed = true;
                self.report.models = Some(models.into());
                if self.is_up() {
                    self.report.trouble = None;
                }
                self.publish_warm();
            }
            Ok(Answer::Loaded(running)) => {
                effects.changed = self.merge_running(running, asked, now);
            }
            Ok(Answer::Version(version)) => {
                effects.changed = self.report.version.as_ref() != Some(&version);
                self.report.version = Some(version);
            }
            // The router's own failure, not the server's.
            Err(Failure::Local(_)) => {}
            Err(failure) if probe == Probe::Alive => {
                self.silent += 1;
                let gone = failure.is_unreachable() || self.silent >= MAX_SILENT;
                if gone {
                    self.down(now, &failure.to_string(), &mut effects);
                } else {
                    effects.ask.push(Probe::Alive);
                }
            }
            // Nothing can be sent there, though it is up: the report says why.
            Err(failure) if self.lacks_models(probe) => {
                let why: Arc<str> = failure.to_string().into();
                effects.changed = self.report.trouble.as_ref() != Some(&why);
                self.report.trouble = Some(why);
            }
            // A slow list does not mean that the server is down: keep what was known.
            Err(_) => {}
        }
        effects
    }

    fn lacks_models(&self, probe: Probe) -> bool {
        probe == Probe::Models && self.is_up() && self.report.models.is_none()
    }

    /// The models of the pools that are to be shown as failing now.
    pub(super) fn is_failing(&self, model: &ModelName, now: Instant) -> bool {
        self.breakers.is_open(model, now)
    }

    /// When the next pause of a failing model is over.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        self.breakers.next_trial(now)
    }

    /// Whether the model has failures on record.
    pub(super) fn is_suspect(&self, model: &ModelName) -> bool {
        self.breakers.is_suspect(model)
    }

    /// When to ask next: quickly while a server is gone, so that it is back in use at once.
    pub(super) fn next(&self, probe: Probe, intervals: &Intervals) -> Option<Duration> {
        match probe {
            Probe::Alive if self.is_up() => Some(intervals.alive),
            Probe::Alive => {
                let quick = Duration::from_millis(100).saturating_mul(1 << self.misses.min(10));
                Some(quick.min(intervals.alive))
            }
            Probe::Loaded if self.loading.is_some() => Some(LOAD_WATCH.min(intervals.loaded)),
            Probe::Loaded => self.is_up().then_some(intervals.loaded),
            Probe::Models => self.is_up().then_some(if self.report.models.is_some() {
                intervals.models
            } else {
                intervals.alive
            }),
            Probe::Version => {
                (self.is_up() && self.report.version.is_none()).then_some(intervals.alive)
            }
        }
    }

    fn alive(&mut self, now: Instant, effects: &mut Effects) {
        self.silent = 0;
        self.misses = 0;
        if !self.is_up() {
            self.report.phase = Phase::Up;
            self.report.since = now;
            self.report.trouble = None;
            effects.changed = true;
            effects
                .ask
                .extend([Probe::Models, Probe::Loaded, Probe::Version]);
        }
    }

    fn down(&mut self, now: Instant, why: &str, effects: &mut Effects) {
        self.misses = self.misses.saturating_add(1);
        if self.report.phase == Phase::Down {
            return;
        }
        self.report.phase = Phase::Down;
        self.report.since = now;
        self.report.trouble = Some(why.into());
        // A server that comes back has nothing loaded.
        self.report.running = Arc::default();
        self.warm.clear();
        self.loading = None;
        self.publish_warm();
        effects.changed = true;
        effects.ask.push(Probe::Alive);
    }

    /// The server does not have what it listed.
    fn forget(&mut self, model: &ModelName, effects: &mut Effects) {
        if let Some(models) = &self.report.models {
            self.report.models = Some(
                models
                    .iter()
                    .filter(|listed| listed.name != *model)
                    .cloned()
                    .collect(),
            );
        }
        self.warm.remove(model);
        self.publish_warm();
        effects.changed = true;
        effects.ask.push(Probe::Models);
    }

    /// The server's list replaces what was known before it was asked, not what was learnt since.
    fn merge_running(&mut self, running: Vec<RunningModel>, asked: Instant, now: Instant) -> bool {
        let before = self.warm.len();
        self.warm.retain(|model, since| {
            *since > asked || running.iter().any(|listed| listed.name == *model)
        });
        let mut changed = self.warm.len() != before;
        for listed in &running {
            changed |= self.warm.insert(listed.name.clone(), now).is_none();
        }
        let loaded = |pool: &Arc<SlotPool>| {
            let listed = running.iter().find(|listed| listed.name == *pool.model());
            pool.in_flight() == 0 || listed.is_some_and(is_loaded)
        };
        if self.loading.as_ref().is_some_and(loaded) {
            self.loading = None;
            changed = true;
        }
        if changed {
            self.publish_warm();
        }
        self.report.running = running.into();
        // The raw entries carry expiry times, which move with every request.
        true
    }

    /// Says whether it has changed.
    fn publish_evidence(&mut self) -> bool {
        let evidence = self.breakers.evidence();
        let changed = *self.report.evidence != *evidence;
        self.report.evidence = evidence.into();
        changed
    }

    fn publish_warm(&mut self) {
        if !self.loads {
            let listed = self.report.models.iter().flat_map(|models| models.iter());
            let mut warm: Vec<_> = listed.map(|listed| listed.name.clone()).collect();
            warm.sort_unstable();
            warm.dedup();
            self.report.warm = warm.into();
            return;
        }
        let loading = self.loading.as_ref().map(|pool| pool.model());
        let mut warm: Vec<_> = self.warm.keys().chain(loading).cloned().collect();
        warm.sort_unstable();
        warm.dedup();
        self.report.warm = warm.into();
    }
}

/// Older releases list a model while it loads, with no time of expiry yet.
fn is_loaded(listed: &RunningModel) -> bool {
    !listed.expires_at.is_empty() && !listed.expires_at.starts_with("0001-")
}

#[cfg(test)]
mod tests;
