//! What the gateway measures.
//!
//! [`Meters`] are the families, [`Meter`] follows one request. Durations run to the end of the
//! body: that is when an answer is over. A request that never reached a server is counted with
//! empty endpoint and model labels, and one for a model that no server has with the model `unknown`, so that
//! what clients invent cannot grow the metrics.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::families::{FailoverLabels, Families, Pair};
use super::load_meters::LoadMeters;
use super::requests::{How, Request, Requests, Sender, Tracked};
use super::server_error::ServerError;
use crate::domain::{ModelName, TokenCounts};
use crate::fleet::{Considered, Endpoint, FleetView, Leased, SlotPool};
use crate::metrics::{PairLabels, Registry, RequestLabels, TokenLabels};
use crate::protocol::Api;

/// The families, shared by all requests.
#[derive(Clone, Debug)]
pub struct Meters(Arc<Families>);

/// One request's times, from its arrival on.
#[derive(Debug)]
pub struct Meter {
    meters: Meters,
    api: Api,
    arrived: Instant,
    queued: Duration,
    route: Option<&'static str>,
    /// Its server loads the model for it.
    loads: bool,
    sent: Option<Instant>,
    pair: Option<Arc<Pair>>,
    counted: bool,
    /// What operators see of it. `None` once it has moved to the answer's body.
    tracked: Option<Tracked>,
}

// === impl Meters ===

impl Meters {
    /// Makes the families known to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry, requests: Requests) -> Self {
        let families = Families::register(registry, requests);
        Self(Arc::new(families))
    }

    pub(super) fn requests(&self) -> &Requests {
        &self.0.all
    }

    pub(super) fn arrived(&self, api: Api, id: &HeaderValue, sender: Sender) -> Meter {
        let arrived = Instant::now();
        Meter {
            meters: self.clone(),
            api,
            arrived,
            queued: Duration::ZERO,
            route: None,
            loads: false,
            sent: None,
            pair: None,
            counted: false,
            tracked: Some(self.0.all.arrived(api, id.clone(), sender, arrived)),
        }
    }

    pub(super) fn failed_over(&self, endpoint: &Arc<str>, server_error: &ServerError) {
        let labels = FailoverLabels {
            endpoint: Arc::clone(endpoint),
            reason: server_error.label(),
        };
        self.0.failovers.get(&labels).inc();
    }

    pub(super) fn loads(&self) -> &LoadMeters {
        &self.0.loads
    }

    /// Removes what is about servers that are gone.
    pub(super) fn keep_only(&self, view: &FleetView) {
        let ids = || view.servers.iter().map(|server| server.endpoint.id());
        let names: HashSet<&Arc<str>> = ids().map(|id| &id.name).collect();
        let generations: HashSet<u64> = ids().map(|id| id.generation).collect();
        let m = &self.0;
        let is_kept = |name: &Arc<str>| name.is_empty() || names.contains(name);
        m.requests.retain(|labels| is_kept(&labels.endpoint));
        m.request_seconds.retain(|labels| is_kept(&labels.endpoint));
        m.first_byte_seconds
            .retain(|labels| is_kept(&labels.endpoint));
        m.tokens.retain(|labels| is_kept(&labels.endpoint));
        m.failovers.retain(|labels| is_kept(&labels.endpoint));
        m.loads.retain(is_kept);
        // Last: a pair that was made meanwhile holds metrics that are kept.
        m.pairs
            .retain(|_, pair| generations.contains(&pair.generation));
    }

    fn pair(&self, endpoint: &Endpoint, pool: &SlotPool) -> Arc<Pair> {
        if let Some(pair) = self.0.pairs.get(&pool.serial()) {
            return Arc::clone(&pair);
        }
        let labels = PairLabels {
            endpoint: Arc::clone(endpoint.name()),
            model: pool.model().clone(),
        };
        let tokens = |direction| {
            self.0.tokens.get(&TokenLabels {
                endpoint: Arc::clone(&labels.endpoint),
                model: labels.model.clone(),
                direction,
            })
        };
        let pair = Arc::new(Pair {
            first_byte_seconds: self.0.first_byte_seconds.get(&labels),
            request_seconds: self.0.request_seconds.get(&labels),
            input: tokens("input"),
            output: tokens("output"),
            answered: Default::default(),
            generation: endpoint.id().generation,
            labels,
        });
        self.0.pairs.insert(pool.serial(), Arc::clone(&pair));
        pair
    }

    fn request(&self, labels: &RequestLabels) -> Counter {
        self.0.requests.get(labels)
    }
}

// === impl Meter ===

impl Meter {
    /// A slot was given, after waiting since `asked`.
    pub(super) fn leased(&mut self, asked: Instant, leased: &Leased) {
        let waited = if leased.waited {
            asked.elapsed()
        } else {
            Duration::ZERO
        };
        self.queued += waited;
        self.meters.0.queue_seconds.observe(waited.as_secs_f64());
        self.loads = leased.lease.is_cold();
        self.route = Some(match (leased.waited, self.loads) {
            (true, _) => "queued",
            (false, true) => "cold",
            (false, false) => "loaded",
        });
    }

    /// The request goes to a server now.
    pub(super) fn sent(&mut self) {
        if self.sent.is_none() {
            let now = Instant::now();
            let inside = now.duration_since(self.arrived).saturating_sub(self.queued);
            self.meters.0.overhead_seconds.observe(inside.as_secs_f64());
            self.sent = Some(now);
        }
    }

    pub(super) fn queued(&self) -> Duration {
        self.queued
    }

    pub(super) fn route(&self) -> Option<&'static str> {
        self.route
    }

    /// The meter is moved to the answer's body.
    pub(super) fn take(&mut self) -> Self {
        Self {
            meters: self.meters.clone(),
            pair: self.pair.clone(),
            counted: std::mem::replace(&mut self.counted, true),
            tracked: self.tracked.take(),
            ..*self
        }
    }

    /// What operators see of it.
    pub(super) fn request(&self) -> Option<&Arc<Request>> {
        self.tracked.as_ref().map(Tracked::request)
    }

    /// Operators see no more of it.
    pub(super) fn over(&mut self) {
        self.tracked = None;
    }

    /// Ends when an operator has ended the request.
    pub async fn cancelled(&self) {
        match self.request() {
            Some(request) => request.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Tells it what operators see of it.
    pub(super) fn note(&self, note: impl FnOnce(&Request)) {
        if let Some(request) = self.request() {
            note(request);
        }
    }

    /// It goes to this server.
    pub(super) fn tries(&self, model: &ModelName, endpoint: &Endpoint, considered: Considered) {
        let how = How {
            route: self.route,
            loads: self.loads,
            queued: self.queued,
        };
        self.note(|request| request.tries(model, endpoint, considered, how));
    }

    pub(super) fn first_byte(&mut self, endpoint: &Endpoint, pool: &SlotPool) {
        let elapsed = self.arrived.elapsed().as_secs_f64();
        self.pair(endpoint, pool)
            .first_byte_seconds
            .observe(elapsed);
    }

    /// The answer is over.
    pub(super) fn ended(&mut self, endpoint: &Endpoint, pool: Option<&SlotPool>, status: u16) {
        self.counted = true;
        self.note(|request| request.ends(status));
        let Some(pool) = pool else {
            return self.without_pool(Arc::clone(endpoint.name()), "".into(), status);
        };
        let (api, elapsed) = (self.api, self.arrived.elapsed().as_secs_f64());
        let meters = self.meters.clone();
        let pair = self.pair(endpoint, pool);
        pair.request_seconds.observe(elapsed);
        let labels = || RequestLabels {
            endpoint: Arc::clone(&pair.labels.endpoint),
            model: pair.labels.model.shared(),
            path: api.path(),
            status,
        };
        if status == 200 {
            let answered = pair.answered[api as usize].get_or_init(|| meters.request(&labels()));
            answered.inc();
        } else {
            meters.request(&labels()).inc();
        }
    }

    /// Its tokens are known, or estimated.
    pub(super) fn tokens(
        &mut self,
        endpoint: &Endpoint,
        pool: &SlotPool,
        tokens: TokenCounts,
        estimated: bool,
    ) {
        self.note(|request| request.used(tokens));
        let pair = self.pair(endpoint, pool);
        pair.input.inc_by(tokens.input);
        pair.output.inc_by(tokens.output);
        if estimated {
            self.meters.0.estimated.inc();
        }
    }

    /// There was no answer.
    pub fn refused(&mut self, status: u16) {
        self.counted = true;
        self.note(|request| request.ends(status));
        self.without_pool("".into(), "".into(), status);
    }

    /// There was no answer: no server has what it asks for.
    pub(super) fn unknown_model(&mut self, status: u16) {
        self.counted = true;
        self.note(|request| request.ends(status));
        self.without_pool("".into(), ModelName::unknown().shared(), status);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    fn pair(&mut self, endpoint: &Endpoint, pool: &SlotPool) -> &Pair {
        let meters = &self.meters;
        self.pair.get_or_insert_with(|| meters.pair(endpoint, pool))
    }

    fn without_pool(&self, endpoint: Arc<str>, model: Arc<str>, status: u16) {
        let labels = RequestLabels {
            endpoint,
            model,
            path: self.api.path(),
            status,
        };
        self.meters.request(&labels).inc();
    }
}

impl Drop for Meter {
    /// The client left before there was an answer: 499, as in nginx and Ollama.
    fn drop(&mut self) {
        if !self.counted {
            self.without_pool("".into(), "".into(), 499);
        }
    }
}
