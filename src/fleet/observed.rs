//! What is known of the fleet, for whoever shows it or passes it on.
//!
//! [`Observed`] is the one description of a server from which metrics, health and pages are made: what its
//! actor last reported, with the counts as they are at the moment of asking. Lists are rendered from
//! the same reports, once per view. It can be serialised; its times are Unix seconds. It must not know
//! how anything is decided, and cannot fail.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::desired::EndpointId;
use super::endpoint::{Endpoint, Phase, Report, StateChange};
use super::quantiles::FirstByteQuantiles;
use super::slot_pool::SlotPool;
use crate::backend::Kind;
use crate::domain::ModelName;
use crate::faults::{Failing, Fault};
use crate::protocol::{ListedModel, RunningModel, Version};

/// One server, as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Its name and generation.
    #[serde(flatten)]
    pub id: EndpointId,
    /// Its address as configured.
    pub url: Arc<str>,
    /// What it speaks.
    pub kind: Kind,
    /// Whether it serves.
    pub phase: Shown,
    /// It is not wanted any more, and goes when its last stream has ended.
    pub leaving: bool,
    /// What it is also called, together with others.
    pub labels: Arc<[Arc<str>]>,
    /// Since when, in Unix seconds.
    pub since: i64,
    /// Why it does not serve, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Which version it is, if servers of its kind report it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub version: Option<Version>,
    /// Its share of the work.
    pub weight: f64,
    /// Its tier.
    pub priority: i32,
    /// Concurrent requests per model.
    pub slots: u32,
    /// Requests that hold a slot now.
    pub in_flight: u32,
    /// Of these, those without a first byte yet.
    pub waiting: u32,
    /// It answers, and refuses to say what it has or has loaded.
    #[serde(skip)]
    pub refuses: bool,
    /// What it lists, as it sent it. `None` until it has done so once.
    #[serde(serialize_with = "listed")]
    pub models: Option<Arc<[ListedModel]>>,
    /// What it has loaded, as it sent it.
    #[serde(serialize_with = "running")]
    pub loaded: Arc<[RunningModel]>,
    /// The slots of each model that was ever used here.
    pub held: Vec<Held>,
    /// The models that fail on it.
    pub evidence: Vec<FailingModel>,
    /// How long the first bytes of streams take, from the moment a request is sent there; loads included.
    pub first_byte_ms: Option<FirstByteQuantiles>,
    /// What states it has been in, the oldest first.
    #[serde(skip)]
    pub history: Arc<Vec<StateChange>>,
}

/// Whether a server serves, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// Has not answered yet.
    Starting,
    /// Answers.
    Up,
    /// Does not answer.
    Down,
    /// Finishes its streams and takes nothing new.
    Draining,
    /// Has finished them, and takes nothing new until it is told to.
    Drained,
}

/// The slots of one model on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The model.
    pub model: ModelName,
    /// How many there are.
    pub slots: u32,
    /// How many this router's requests hold.
    pub in_flight: u32,
    /// Of these, those without a first byte yet.
    pub waiting: u32,
    /// Whether an operator keeps new requests from it on this server.
    pub draining: bool,
    /// Whether what ran at the beginning of that has ended.
    pub drained: bool,
}

/// Why requests for one model avoid one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailingModel {
    /// The model.
    pub model: ModelName,
    /// How it failed last.
    pub fault: Fault,
    /// Failures that each extended the pause.
    pub failures: u32,
    /// Until when it is avoided, in Unix seconds; then it is tried by one request at a time.
    pub until: i64,
}

impl Observed {
    /// Whether it goes by this name, or has this label.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        *self.id.name == *name || self.labels.iter().any(|label| **label == *name)
    }

    /// `now` and `unix` are the same moment on two clocks.
    pub(super) fn new(endpoint: &Endpoint, report: &Report, now: Instant, unix: i64) -> Self {
        let (settings, history) = (endpoint.settings(), endpoint.history());
        let mut held: Vec<Held> = endpoint.pools().iter().filter_map(held).collect();
        held.sort_unstable_by(|a, b| a.model.cmp(&b.model));
        let at = |instant| unix_at(instant, now, unix);
        Self {
            id: endpoint.id().clone(),
            url: endpoint.url().clone(),
            kind: settings.backend.kind(),
            phase: Shown::of(endpoint, report),
            leaving: endpoint.is_draining(),
            labels: Arc::clone(&settings.labels),
            // As it was written down: what is converted from one clock to another is not the same each time.
            since: history
                .last()
                .map_or_else(|| at(report.since), |last| last.at),
            reason: report.trouble.clone(),
            version: report.version.clone(),
            weight: settings.weight,
            priority: settings.priority,
            slots: settings.slots,
            in_flight: endpoint.total_in_flight(),
            waiting: held.iter().map(|held| held.waiting).sum(),
            refuses: report.refuses,
            models: report.models.clone(),
            loaded: Arc::clone(&report.running),
            held,
            evidence: report.evidence.iter().map(|e| failing(e, &at)).collect(),
            first_byte_ms: endpoint.first_bytes().get(),
            history,
        }
    }

    /// True while it answers and takes new requests, and nothing keeps its models from being known.
    #[must_use]
    pub fn serves(&self) -> bool {
        let is_unknown = self.models.is_none() && self.reason.is_some();
        self.phase == Shown::Up && !is_unknown && !self.refuses
    }
}

impl Shown {
    pub(super) fn of(endpoint: &Endpoint, report: &Report) -> Self {
        match report.phase {
            _ if endpoint.is_draining() => Self::Draining,
            _ if endpoint.is_drained() => Self::Drained,
            _ if endpoint.is_on_hold() => Self::Draining,
            Phase::Starting => Self::Starting,
            Phase::Up => Self::Up,
            Phase::Down => Self::Down,
        }
    }
}

fn held(pool: &Arc<SlotPool>) -> Option<Held> {
    (pool.was_used() || pool.hold().is_on()).then(|| Held {
        model: pool.model().clone(),
        slots: pool.slots(),
        in_flight: pool.in_flight(),
        waiting: pool.waiting(),
        draining: pool.hold().is_on(),
        drained: pool.hold().is_drained(),
    })
}

fn failing(evidence: &Failing, at: &impl Fn(Instant) -> i64) -> FailingModel {
    FailingModel {
        model: evidence.model.clone(),
        fault: evidence.fault,
        failures: evidence.failures,
        until: at(evidence.until),
    }
}

/// A reading of the monotonic clock as one of the wall clock.
fn unix_at(instant: Instant, now: Instant, unix: i64) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(0);
    match now.checked_duration_since(instant) {
        Some(ago) => unix.saturating_sub(seconds(ago)),
        None => unix.saturating_add(seconds(instant.duration_since(now))),
    }
}

fn text<S: Serializer>(version: &Option<Version>, to: S) -> Result<S::Ok, S::Error> {
    match version {
        Some(version) => to.collect_str(version),
        None => to.serialize_none(),
    }
}

fn listed<S: Serializer>(models: &Option<Arc<[ListedModel]>>, to: S) -> Result<S::Ok, S::Error> {
    match models {
        Some(models) => to.collect_seq(models.iter().map(|model| &*model.raw)),
        None => to.serialize_none(),
    }
}

fn running<S: Serializer>(models: &Arc<[RunningModel]>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(models.iter().map(|model| &*model.raw))
}
