//! A server that is this router itself, over however many others.
//!
//! What it says is what this router has said, and would come back for ever: it is down, and lists nothing.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Effects, State};
use crate::backend::Probe;
use crate::fleet::endpoint::probe::Heard;
use crate::upstream::Failure;

impl State {
    /// A probe's answer, and which routers it has passed.
    pub(in crate::fleet::endpoint) fn heard(
        &mut self,
        heard: Result<Heard, Failure>,
        probe: Probe,
        asked: Instant,
        now: Instant,
    ) -> Effects {
        let mut rerouted = false;
        let answer = heard.map(|heard| {
            rerouted = self.behind(heard.routers);
            heard.answer
        });
        let mut effects = self.probed(answer, probe, asked, now);
        effects.changed |= rerouted;
        effects
    }

    /// Which routers it is behind, or is itself; says whether that is new.
    fn behind(&mut self, routers: Option<Arc<str>>) -> bool {
        let Some(routers) = routers.filter(|routers| *routers != self.report.routers) else {
            return false;
        };
        self.report.routers = routers;
        true
    }

    /// What it says comes from this router itself, so nothing of it counts.
    pub(super) fn looped(&mut self, now: Instant, effects: &mut Effects) {
        let why = Failure::Loop.to_string();
        effects.eject |= self.is_up();
        self.down(now, &why, effects);
        if self.report.trouble.as_deref() != Some(&*why) || self.report.models.is_some() {
            self.report.trouble = Some(why.into());
            self.report.models = None;
            effects.changed = true;
        }
    }
}
