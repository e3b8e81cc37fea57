//! What an endpoint's actor decides: pure, time is an argument.

mod changes;
mod effects;
mod elsewhere;
mod loading;
mod looped;
mod probes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use effects::{Effects, Intervals};

use super::Refusal;
use super::report::{Phase, Report};
use crate::backend::Probe;
use crate::domain::ModelName;
use crate::faults::{Admission, Breakers, Closed, Fault, OnServer};
use crate::fleet::lease::{Grant, Outcome};
use crate::fleet::slot_pool::{SlotPool, Taken};
use changes::Leaving;
use elsewhere::LoadElsewhere;
use loading::{Loading, Progress};

#[derive(Debug)]
pub(super) struct State {
    report: Report,
    /// Whether a listed model may have to be loaded first.
    loads: bool,
    warm: HashMap<ModelName, Instant>,
    loading: Option<Loading>,
    /// A load that another router has the server do.
    elsewhere: Option<LoadElsewhere>,
    /// Loads that take so long that nothing waits for them any more.
    overdue: Vec<Arc<SlotPool>>,
    /// Models that the server was told to unload a moment ago.
    leaving: Vec<Leaving>,
    breakers: Breakers,
    /// When a connection was refused: no new requests until a probe that was asked later has an answer.
    suspended: Option<Instant>,
    /// Why its models are not known.
    no_list: Option<Arc<str>>,
    /// How it refuses to say what it is asked, by probe.
    refused: [Option<Arc<str>>; Probe::ALL.len()],
    silent: u32,
    /// One of the probes that failed in a row had a connection.
    was_connected: bool,
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
        report.refuses = false;
        let warm = report
            .warm
            .iter()
            .map(|model| (model.clone(), now))
            .collect();
        let loading = loading.filter(|pool| pool.in_flight() > 0);
        let loading = loading.map(|pool| Loading::new(pool, None, now));
        Self {
            report,
            loads,
            warm,
            loading,
            elsewhere: None,
            overdue: Vec::new(),
            leaving: Vec::new(),
            breakers: Breakers::default(),
            suspended: None,
            no_list: None,
            refused: Default::default(),
            silent: 0,
            was_connected: false,
            misses: 0,
        }
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Serial of the pool whose model is being loaded; 0 when none is.
    pub(super) fn loading(&self) -> u64 {
        self.loading.as_ref().map_or(0, |load| load.pool.serial())
    }

    pub(super) fn is_up(&self) -> bool {
        self.report.phase == Phase::Up
    }

    /// Whether it gets new requests.
    pub(super) fn takes_requests(&self) -> bool {
        self.is_up() && self.suspended.is_none()
    }

    fn is_loading(&self, pool: &SlotPool) -> bool {
        self.loading.as_ref().is_some_and(|load| load.is_of(pool))
    }

    /// Whether another model's load holds the server.
    fn is_held(&self, pool: &SlotPool) -> bool {
        let holds = |load: &Loading| load.holds() && !load.is_of(pool);
        self.loading.as_ref().is_some_and(holds)
    }

    fn is_overdue(&self, pool: &SlotPool) -> bool {
        let mut overdue = self.overdue.iter();
        overdue.any(|overdue| overdue.serial() == pool.serial())
    }

    /// Decides on a slot. `usual` is how long a load takes in the fleet.
    pub(super) fn acquire(
        &mut self,
        pool: &Arc<SlotPool>,
        usual: Option<Duration>,
        now: Instant,
    ) -> (Result<(Grant, Taken), Refusal>, Effects) {
        let mut effects = Effects::default();
        let granted = self.grant(pool, now);
        if let Ok((Grant { cold: true, .. }, _)) = granted {
            let usual = pool.first_bytes().usual_load().or(usual);
            self.loading = Some(Loading::new(Arc::clone(pool), usual, now));
            effects.changed = true;
            effects.ask.push(Probe::Loaded);
            self.publish_warm();
        }
        // It keeps others waiting for a limited time.
        effects.reconsider = matches!(granted, Ok((Grant { trial: true, .. }, _)));
        (granted, effects)
    }

    fn grant(&mut self, pool: &Arc<SlotPool>, now: Instant) -> Result<(Grant, Taken), Refusal> {
        if !self.takes_requests() {
            return Err(Refusal::Down);
        }
        let loading = self.is_loading(pool) || self.is_loading_elsewhere(pool);
        let cold = self.is_cold(pool);
        let blocked = self.is_held(pool) || (cold && self.shown_loading() != 0);
        if blocked || self.is_overdue(pool) {
            return Err(Refusal::Loading);
        }
        let slot = pool.take().ok_or(Refusal::Full)?;
        let admission = self.breakers.admit(pool.model(), now);
        if admission == Admission::Refused {
            return Err(Refusal::Full);
        }
        let grant = Grant {
            cold,
            loading,
            trial: admission == Admission::Trial,
            watched: cold || loading || admission != Admission::Free,
        };
        Ok((grant, slot))
    }

    fn is_warm(&self, model: &ModelName) -> bool {
        // Nothing is loaded for a model of Ollama's cloud.
        !self.loads || model.is_cloud() || self.warm.contains_key(model)
    }

    /// Whether the model is in memory, as far as is known.
    pub(super) fn has_loaded(&self, model: &ModelName) -> bool {
        self.warm.contains_key(model)
    }

    /// Whether requests take the slots of this pool directly: nothing is to be decided.
    pub(super) fn is_direct(&self, pool: &SlotPool) -> bool {
        let model = pool.model();
        self.takes_requests()
            && self.is_warm(model)
            && !self.is_loading(pool)
            && !self.is_loading_elsewhere(pool)
            && !self.is_held(pool)
            && !self.is_overdue(pool)
            && !self.breakers.is_suspect(model)
    }

    /// An answer has begun: the model is loaded and works.
    pub(super) fn answered(&mut self, pool: &SlotPool, now: Instant) -> Effects {
        let mut effects = Effects::default();
        if self.is_loading(pool) {
            self.loading = None;
            effects.changed = true;
        }
        effects.changed |= self.no_longer_overdue(pool);
        if self.breakers.worked(pool.model(), now) {
            // From one request at a time back to all its slots: requests that wait are told.
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

    /// A stream that was running while the model failed for others delivers.
    pub(super) fn delivered(&mut self, pool: &SlotPool, now: Instant) -> Effects {
        let changed = self.breakers.delivered(pool.model(), now) && self.publish_evidence();
        Effects {
            changed,
            ..Effects::default()
        }
    }

    /// A watched or failed lease has ended.
    pub(super) fn released(
        &mut self,
        pool: &SlotPool,
        outcome: Outcome,
        trial: bool,
        now: Instant,
    ) -> Effects {
        let mut effects = Effects::default();
        if trial {
            self.breakers.trial_ended(pool.model());
        }
        let ended = pool.in_flight() == 0 || matches!(outcome, Outcome::Failed(_));
        if ended && self.is_loading(pool) {
            self.loading = None;
            self.publish_warm();
            effects.changed = true;
        }
        if ended {
            effects.changed |= self.no_longer_overdue(pool);
        }
        if let Outcome::Failed(fault) = outcome {
            self.failed(pool, fault, now, &mut effects);
        }
        effects
    }

    /// A request has failed, for a reason that was found out after its lease had ended.
    pub(super) fn failed(
        &mut self,
        pool: &SlotPool,
        fault: Fault,
        now: Instant,
        effects: &mut Effects,
    ) {
        if self.breakers.failed(pool.model(), fault, now) {
            effects.changed |= self.publish_evidence();
            effects.reconsider = true;
        }
        match fault.consequence().server {
            OnServer::Nothing => {}
            OnServer::Probe => effects.ask.push(Probe::Alive),
            OnServer::Forget => self.forget(pool.model(), effects),
            OnServer::Disown => self.looped(now, effects),
            OnServer::Suspend => {
                effects.changed |= self.suspended.replace(now).is_none();
                effects.reconnect = true;
                effects.ask.push(Probe::Alive);
            }
        }
    }

    /// Looks at the load that is running. `others_run`: so do requests of other models.
    pub(super) fn look_at_load(&mut self, others_run: bool, now: Instant) -> Effects {
        let Some(load) = &mut self.loading else {
            return Effects::default();
        };
        let progress = load.look(others_run, now);
        if progress == Progress::Overdue
            && let Some(load) = self.loading.take()
        {
            self.overdue.push(load.pool);
            self.publish_warm();
        }
        Effects {
            changed: progress != Progress::Same,
            ..Effects::default()
        }
    }

    /// When to look at the load again.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        self.loading.as_ref().map(|load| load.next_look(now))
    }

    fn no_longer_overdue(&mut self, pool: &SlotPool) -> bool {
        let before = self.overdue.len();
        self.overdue
            .retain(|overdue| overdue.serial() != pool.serial());
        self.overdue.len() != before
    }

    /// The models of the pools that are to be shown as failing now.
    pub(super) fn is_failing(&self, model: &ModelName, now: Instant) -> bool {
        self.breakers.is_open(model, now)
    }

    /// When the next pause of a failing model is over.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        self.breakers.next_trial(now)
    }

    /// Whether every request for a slot would be refused, whatever is free.
    pub(super) fn refuses(&self, pool: &SlotPool, now: Instant) -> bool {
        self.is_held(pool) || self.is_overdue(pool) || self.breakers.refuses(pool.model(), now)
    }

    /// The pause for this model that the server has asked for.
    pub(super) fn closed(&self, model: &ModelName, now: Instant) -> Option<Closed> {
        self.breakers.closed(model, now)
    }

    /// Whether a stream that delivers would be news.
    pub(super) fn is_half_open(&self, model: &ModelName, now: Instant) -> bool {
        self.breakers.is_half_open(model, now)
    }

    /// Says whether it has changed.
    fn publish_evidence(&mut self) -> bool {
        let evidence = self.breakers.all();
        let changed = *self.report.evidence != *evidence;
        self.report.evidence = evidence.into();
        self.publish_trouble() | changed
    }

    /// Why it is up and serves less than it should. Says whether that has changed.
    fn publish_trouble(&mut self) -> bool {
        if !self.is_up() {
            return false;
        }
        let rejection = self.breakers.rejection();
        let rejection = rejection.map(|fault| Arc::from(fault.to_string()));
        let refused = self.refused.iter().flatten().next().cloned();
        let trouble = self.no_list.clone().or(refused).or(rejection);
        let changed = self.report.trouble != trouble;
        self.report.trouble = trouble;
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
        let loading = self.loading.as_ref().map(|load| load.pool.model());
        let loading = loading.into_iter().chain(self.elsewhere_model());
        let mut warm: Vec<_> = self.warm.keys().chain(loading).cloned().collect();
        warm.sort_unstable();
        warm.dedup();
        self.report.warm = warm.into();
    }
}

#[cfg(test)]
mod tests;
