//! Requests of callers: databases added and removed, weights, a database chosen by hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Entry, NewMember};
use super::{Effect, State};
use crate::database::DatabaseId;
use crate::detector::FailureDetector;
use crate::error::Error;
use crate::event::SwitchReason;
use crate::health::Report;

impl State {
    pub(crate) fn add(&mut self, new_member: NewMember, now: Instant) {
        let detectors = &self.policy.detectors;
        let threshold = self.policy.success_threshold;
        self.entries
            .push(Entry::new(new_member, detectors, threshold, now));
        self.changed = true;
        if self.begun {
            self.choose(now);
        }
    }

    /// The first choice.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.begun = true;
        for entry in &mut self.entries {
            entry.new_member = false;
        }
        let next = self.next();
        self.switch(next, SwitchReason::Initial, now);
    }

    pub(crate) fn remove(&mut self, id: DatabaseId, now: Instant) -> Result<(), Error> {
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

    pub(crate) fn set_weight(
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

    pub(crate) fn set_active(
        &mut self,
        id: DatabaseId,
        report: &Report,
        now: Instant,
    ) -> Result<(), Error> {
        let entry = self.get_mut(id).ok_or(Error::UnknownDatabase(id))?;
        entry.record_health(report, now);
        let refused = entry.refusal(report);
        let database = entry.database.clone();
        self.changed = true;
        if let Some(reason) = refused {
            return Err(Error::Unhealthy { database, reason });
        }
        self.switch(Some(id), SwitchReason::Manual, now);
        Ok(())
    }

    pub(crate) fn force(&mut self, id: DatabaseId, now: Instant) -> Result<(), Error> {
        self.get(id).ok_or(Error::UnknownDatabase(id))?;
        self.change(id, "forced", |entry| entry.circuit.force_close(now));
        self.switch(Some(id), SwitchReason::Forced, now);
        Ok(())
    }

    pub(crate) fn add_detector(&mut self, detector: Arc<dyn FailureDetector>) {
        for entry in &mut self.entries {
            entry.detectors.push(detector.fresh());
        }
        self.policy.detectors.push(detector);
    }

    pub(crate) fn set_fallback(&mut self, interval: Option<Duration>, now: Instant) {
        self.policy.fallback = interval.filter(|interval| !interval.is_zero());
        self.failed_returns = 0;
        if let Some(interval) = self.policy.fallback {
            self.no_fallback_before = self.since + interval;
        }
        self.choose(now);
    }
}
