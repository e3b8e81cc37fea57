//! What a probe's answer changes, and when the next one is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::changes::LET_GO_WATCH;
use super::{Effects, Intervals, State};
use crate::backend::{Answer, Probe};
use crate::domain::ModelName;
use crate::fleet::endpoint::report::Phase;
use crate::fleet::slot_pool::SlotPool;
use crate::protocol::RunningModel;
use crate::upstream::Failure;

/// One slow answer may be an exception; after two in a row the server counts as down.
const MAX_SILENT: u32 = 2;

/// How often a server that loads is asked whether it has loaded: its other cold requests wait for
/// that, and an answer that is not streamed says so only at its end.
const LOAD_WATCH: Duration = Duration::from_millis(250);

impl State {
    /// A probe's answer.
    pub(in crate::fleet::endpoint) fn probed(
        &mut self,
        answer: Result<Answer, Failure>,
        probe: Probe,
        asked: Instant,
        now: Instant,
    ) -> Effects {
        let mut effects = Effects::default();
        if probe == Probe::Loaded && answer.is_err() {
            // Nobody is to wait for what it does not say.
            self.leaving.clear();
        }
        match answer {
            Ok(Answer::Alive) => self.alive(asked, now, &mut effects),
            Ok(Answer::Models(models)) => {
                effects.changed = true;
                self.report.models = Some(models.into());
                self.no_list = None;
                self.refused(probe, None);
                self.warm_under_other_names(now);
                self.publish_warm();
            }
            Ok(Answer::Loaded(running)) => {
                effects.changed = self.merge_running(running, asked, now);
                self.refused(probe, None);
            }
            Ok(Answer::Version(version)) => {
                effects.changed = self.report.version.as_ref() != Some(&version);
                self.report.version = Some(version);
            }
            // The router's own failure, not the server's.
            Err(Failure::Local(_)) => {}
            Err(Failure::Loop) => self.looped(now, &mut effects),
            Err(Failure::Rejected(_, why)) if is_list(probe) => {
                effects.changed = self.refused(probe, Some(why.into()));
            }
            Err(failure) if probe == Probe::Alive => {
                self.silent += 1;
                self.was_connected |= failure.was_connected();
                let refused = matches!(failure, Failure::Refused(_));
                if refused || self.silent >= MAX_SILENT {
                    // A connection that cannot be made says nothing about those that are open.
                    effects.eject = refused || self.was_connected;
                    self.down(now, &failure.to_string(), &mut effects);
                } else {
                    effects.ask.push(Probe::Alive);
                }
            }
            // Nothing can be sent there, though it is up: the report says why.
            Err(failure) if self.lacks_models(probe) => {
                self.no_list = Some(failure.to_string().into());
                effects.changed = self.publish_trouble();
            }
            // A slow list does not mean that the server is down: keep what was known.
            Err(_) => {}
        }
        effects
    }

    /// It refuses to say what it has, or has loaded, or does not any more; says whether that is new. What it does not let
    /// this router see it would not compute for it either.
    fn refused(&mut self, probe: Probe, why: Option<Arc<str>>) -> bool {
        if probe == Probe::Loaded && why.is_some() {
            self.report.running = Arc::default();
        }
        let is_new = self.refused[probe as usize] != why;
        self.refused[probe as usize] = why;
        self.report.refuses = self.refuses_probes();
        self.publish_trouble() | is_new
    }

    /// Whether it answers, and not what it is asked.
    pub(in crate::fleet::endpoint) fn refuses_probes(&self) -> bool {
        self.refused.iter().any(Option::is_some)
    }

    fn lacks_models(&self, probe: Probe) -> bool {
        probe == Probe::Models && self.is_up() && self.report.models.is_none()
    }

    /// When to ask next: quickly while a server is gone, so that it is back in use at once.
    pub(in crate::fleet::endpoint) fn next(
        &self,
        probe: Probe,
        intervals: &Intervals,
    ) -> Option<Duration> {
        match probe {
            Probe::Alive if self.is_up() => Some(intervals.alive),
            Probe::Alive => {
                let quick = Duration::from_millis(100).saturating_mul(1 << self.misses.min(10));
                Some(quick.min(intervals.alive))
            }
            Probe::Loaded if !self.leaving.is_empty() => Some(LET_GO_WATCH.min(intervals.loaded)),
            Probe::Loaded if self.loading.is_some() => Some(LOAD_WATCH.min(intervals.loaded)),
            Probe::Loaded => self.is_up().then_some(intervals.loaded),
            Probe::Models => {
                let is_known = self.report.models.is_some() && !self.refuses_probes();
                self.is_up().then_some(seldom(is_known, intervals))
            }
            // A router that is a server is of another version when its own servers are.
            Probe::Version => {
                let is_known = self.report.version.is_some();
                self.is_up().then_some(seldom(is_known, intervals))
            }
        }
    }

    fn alive(&mut self, asked: Instant, now: Instant, effects: &mut Effects) {
        self.silent = 0;
        self.was_connected = false;
        self.misses = 0;
        match self.suspended {
            // It was sent over a connection from before the refusal.
            Some(since) if asked < since => effects.ask.push(Probe::Alive),
            Some(_) => {
                self.suspended = None;
                effects.changed = true;
            }
            None => {}
        }
        if !self.is_up() {
            self.report.phase = Phase::Up;
            self.report.since = now;
            self.publish_trouble();
            effects.changed = true;
            effects
                .ask
                .extend([Probe::Models, Probe::Loaded, Probe::Version]);
        }
    }

    pub(super) fn down(&mut self, now: Instant, why: &str, effects: &mut Effects) {
        self.misses = self.misses.saturating_add(1);
        self.suspended = None;
        self.refused = Default::default();
        self.report.refuses = false;
        effects.changed |= effects.eject;
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
        self.elsewhere = None;
        self.overdue.clear();
        self.publish_warm();
        effects.changed = true;
        effects.ask.push(Probe::Alive);
    }

    /// The server does not have what it listed.
    pub(super) fn forget(&mut self, model: &ModelName, effects: &mut Effects) {
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

    /// A model is as good as loaded when one with the same digest is: the server has its weights in memory, and lists
    /// only the name that they were loaded under. Says whether that is new.
    fn warm_under_other_names(&mut self, now: Instant) -> bool {
        let (running, warm) = (&self.report.running, &mut self.warm);
        let mut changed = false;
        for listed in self.report.models.iter().flat_map(|models| models.iter()) {
            let same = |running: &RunningModel| running.digest == listed.digest;
            if !listed.digest.is_empty() && running.iter().any(same) {
                changed |= warm.insert(listed.name.clone(), now).is_none();
            }
        }
        changed
    }

    /// The server's list replaces what was known before it was asked, not what was learnt since.
    fn merge_running(&mut self, running: Vec<RunningModel>, asked: Instant, now: Instant) -> bool {
        let before = self.warm.len();
        self.warm.retain(|model, since| {
            *since > asked || running.iter().any(|listed| listed.name == *model)
        });
        let mut changed = self.warm.len() != before;
        let loaded_after_all = |overdue: &Arc<SlotPool>| {
            let mut running = running.iter();
            running.any(|listed| listed.name == *overdue.model() && is_loaded(listed))
        };
        let overdue = self.overdue.len();
        self.overdue.retain(|overdue| !loaded_after_all(overdue));
        changed |= self.overdue.len() != overdue;
        for listed in &running {
            changed |= self.warm.insert(listed.name.clone(), now).is_none();
        }
        self.report.running = running.into();
        changed |= self.warm_under_other_names(now);
        let loaded = |pool: &Arc<SlotPool>| {
            let running = self.report.running_as(pool.model());
            pool.in_flight() == 0 || running.is_some_and(is_loaded)
        };
        if self.loading.as_ref().is_some_and(|load| loaded(&load.pool)) {
            self.loading = None;
            changed = true;
        }
        if changed {
            self.publish_warm();
        }
        // The raw entries carry expiry times, which move with every request.
        true
    }
}

/// How often what seldom changes is asked for.
const fn seldom(is_known: bool, intervals: &Intervals) -> Duration {
    if is_known {
        intervals.models
    } else {
        intervals.alive
    }
}

/// What a server has to say so that requests can be sent to it.
const fn is_list(probe: Probe) -> bool {
    matches!(probe, Probe::Models | Probe::Loaded)
}

/// Older releases list a model while it loads, with no time of expiry yet.
fn is_loaded(listed: &RunningModel) -> bool {
    !listed.expires_at.is_empty() && !listed.expires_at.starts_with("0001-")
}
