//! What other routers say of the server, and what they are told.
//!
//! All routers ask a server the same things. So what it answers to one of them all others hear, and each begins its
//! own interval again: whoever is first asks for all, and the number of probes does not grow with that of routers.
//! That a server does not answer another router may be that router's network: it is asked at once.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::actor::{EndpointActor, Timer};
use super::asking::schedule;
use super::probe::Heard;
use super::state::Effects;
use crate::backend::{Answer, Probe};
use crate::cluster::bus::{About, Event};
use crate::domain::ModelName;
use crate::fleet::slot_pool::SlotPool;
use crate::protocol::{ListedModel, RunningModel, parse_ps};
use crate::supervision::Context;
use crate::upstream::Failure;

/// A longer list is not passed on: each router asks for it.
const LONGEST: usize = 16 << 10;
/// What a router has heard may have been so long under way.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// The longest load that others are told of at once.
const LONGEST_LOAD: Duration = Duration::from_secs(30 * 60);

impl EndpointActor {
    /// News of another router.
    pub(super) fn heard(&mut self, event: Event, context: &mut Context<Self>) {
        match event {
            Event::Down { .. } => self.ask(Probe::Alive, context),
            Event::Probed { about, said, .. } => self.heard_answer(about, &said, context),
            Event::Loads { model, for_ms, .. } => {
                let length = Duration::from_millis(for_ms).min(LONGEST_LOAD);
                let until = context.now() + length;
                if let Some(pool) = self.pool(&model) {
                    let effects = self.state.loads_elsewhere(&pool, until);
                    self.apply(effects, context);
                    context.arm(Timer::Elsewhere, length);
                }
            }
            Event::Loaded { model, is, .. } => {
                if let Some(pool) = self.pool(&model) {
                    let effects = self.state.loaded_elsewhere(&pool, is, context.now());
                    self.apply(effects, context);
                }
            }
            Event::Changed | Event::Running { .. } | Event::Unknown => {}
        }
    }

    fn heard_answer(&mut self, about: About, said: &str, context: &mut Context<Self>) {
        if !self.state.takes_requests() {
            // What it answers others is no answer to this router, but it may answer this one as well by now.
            if about == About::Alive {
                self.recheck(Probe::Alive, context);
            }
            return;
        }
        let report = self.state.report();
        let probe = match about {
            About::Alive => Probe::Alive,
            About::Loaded => return self.heard_loaded(said, context),
            About::Models => {
                let known = report.models.as_deref().map(fingerprint);
                // What was heard before is what the other router sees, whatever this one sees.
                let is_news = self.heard_models.as_deref() != Some(said);
                if known.as_deref() != Some(said) && is_news {
                    self.heard_models = Some(said.into());
                    return self.recheck(Probe::Models, context);
                }
                Probe::Models
            }
            About::Version => {
                let known = report.version.as_ref().map(ToString::to_string);
                if known.as_deref() != Some(said) {
                    return self.recheck(Probe::Version, context);
                }
                Probe::Version
            }
        };
        self.begin_again(probe, context);
    }

    fn heard_loaded(&mut self, said: &str, context: &mut Context<Self>) {
        // What this router has changed itself just now it knows better.
        let endpoint = &self.setup.endpoint;
        let is_quiet = self.asking.is_quiet(endpoint.changes(), context.now());
        if !is_quiet || self.state.lets_go() {
            return;
        }
        let Ok(listing) = parse_ps(said.as_bytes()) else {
            return;
        };
        let mut answer = Answer::Loaded(listing.models);
        if let Some(host) = &self.setup.hidden {
            answer.hide(host);
        }
        let asked = context.now() - UNDER_WAY;
        let effects = self
            .state
            .probed(Ok(answer), Probe::Loaded, asked, context.now());
        self.apply(effects, context);
        self.begin_again(Probe::Loaded, context);
    }

    /// The interval of this probe begins now.
    fn begin_again(&self, probe: Probe, context: &mut Context<Self>) {
        if let Some(pause) = self.state.next(probe, &self.setup.intervals) {
            schedule(probe, pause, self.setup.bus.is_on(), context);
        }
    }

    /// What others need of an answer to this router.
    pub(super) fn tell_answer(&self, probe: Probe, heard: &Result<Heard, Failure>) {
        if !self.setup.bus.is_on() {
            return;
        }
        let Ok(heard) = heard else {
            return;
        };
        let (about, said) = match &heard.answer {
            Answer::Alive => (About::Alive, String::new()),
            Answer::Loaded(running) => (About::Loaded, listed(running)),
            Answer::Models(models) => (About::Models, fingerprint(models)),
            Answer::Version(version) => (About::Version, version.to_string()),
        };
        if said.len() <= LONGEST && self.setup.endpoint.settings().backend.plan(probe).is_some() {
            let server = self.setup.endpoint.identity().to_owned();
            self.setup.bus.tell(|| Event::Probed {
                server,
                about,
                said,
            });
        }
    }

    /// It has gone down, as far as this router can see.
    pub(super) fn tell_down(&self) {
        let server = || self.setup.endpoint.identity().to_owned();
        self.setup.bus.tell(|| Event::Down { server: server() });
    }

    /// A load of this router begins.
    pub(super) fn tell_load(&self, model: &ModelName, length: Duration) {
        let server = || self.setup.endpoint.identity().to_owned();
        self.setup.bus.tell(|| Event::Loads {
            server: server(),
            model: model.to_string(),
            for_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// It is over.
    pub(super) fn tell_loaded(&self, model: &ModelName) {
        let is = self.state.has_loaded(model);
        let server = || self.setup.endpoint.identity().to_owned();
        self.setup.bus.tell(|| Event::Loaded {
            server: server(),
            model: model.to_string(),
            is,
        });
    }

    pub(super) fn look_elsewhere(&mut self, now: Instant) -> Effects {
        self.state.pass_elsewhere(now)
    }

    fn pool(&self, model: &str) -> Option<Arc<SlotPool>> {
        let model = ModelName::parse(model).ok()?;
        self.setup.endpoint.known_pool(&model)
    }
}

/// The list as the server would send it.
fn listed(running: &[RunningModel]) -> String {
    let mut list = String::from(r#"{"models":["#);
    for (at, model) in running.iter().enumerate() {
        if at > 0 {
            list.push(',');
        }
        list.push_str(model.raw.get());
    }
    list.push_str("]}");
    list
}

/// The same for the same list, whoever has it.
fn fingerprint(models: &[ListedModel]) -> String {
    let mut hash = Sha256::new();
    for model in models {
        hash.update(model.raw.get());
        hash.update([0]);
    }
    let hash = hash.finalize();
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
