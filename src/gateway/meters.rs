//! What the gateway measures.
//!
//! [`Meters`] are the families, [`Meter`] follows one request. Durations run to the end of the
//! body: that is when an answer is over. A request that never reached a server is counted with
//! empty endpoint and model labels, so that what clients invent cannot grow the metrics.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

use super::attempt::Said;
use crate::domain::TokenCounts;
use crate::fleet::{Endpoint, Leased, Seat};
use crate::metrics::{
    ANSWER_SECONDS, OVERHEAD_SECONDS, PairLabels, Registry, RequestLabels, TokenLabels,
    WAIT_SECONDS, histogram,
};
use crate::protocol::Api;

type Histograms = Family<PairLabels, Histogram, fn() -> Histogram>;

/// The families, shared by all requests.
#[derive(Clone, Debug)]
pub struct Meters(Arc<Families>);

#[derive(Clone, Debug)]
struct Families {
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms,
    first_byte_seconds: Histograms,
    queue_seconds: Histogram,
    overhead_seconds: Histogram,
    tokens: Family<TokenLabels, Counter>,
    estimated: Counter,
    failovers: Family<FailoverLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
struct FailoverLabels {
    endpoint: Arc<str>,
    reason: &'static str,
}

/// One request's times.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    meters: Meters,
    api: Api,
    arrived: Instant,
    queued: Duration,
    route: Option<&'static str>,
    sent: Option<Instant>,
    counted: bool,
}

fn answer_histogram() -> Histogram {
    histogram(ANSWER_SECONDS)
}

// === impl Meters ===

impl Meters {
    /// Makes the families known to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let families = Families {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(answer_histogram),
            first_byte_seconds: Family::new_with_constructor(answer_histogram),
            queue_seconds: histogram(WAIT_SECONDS),
            overhead_seconds: histogram(OVERHEAD_SECONDS),
            tokens: Family::default(),
            estimated: Counter::default(),
            failovers: Family::default(),
        };
        let m = families.clone();
        registry.register(
            "requests",
            "Inference requests, by what the client got",
            m.requests,
        );
        registry.register(
            "request_seconds",
            "From the arrival of a request to the end of its answer",
            m.request_seconds,
        );
        registry.register(
            "first_byte_seconds",
            "From the arrival of a request to the first byte of its answer",
            m.first_byte_seconds,
        );
        registry.register("queue_seconds", "Waiting for a slot", m.queue_seconds);
        registry.register(
            "overhead_seconds",
            "Time a request spent inside the router, waiting in line excluded",
            m.overhead_seconds,
        );
        registry.register("tokens", "Tokens counted", m.tokens);
        registry.register(
            "estimated_records",
            "Answers whose tokens the server never said and were estimated",
            m.estimated,
        );
        registry.register(
            "failovers",
            "Tries that failed before the first byte and moved to another server",
            m.failovers,
        );
        Self(Arc::new(families))
    }

    pub(super) fn arrived(&self, api: Api) -> Meter {
        Meter {
            meters: self.clone(),
            api,
            arrived: Instant::now(),
            queued: Duration::ZERO,
            route: None,
            sent: None,
            counted: false,
        }
    }

    pub(super) fn failed_over(&self, endpoint: &Arc<str>, said: &Said) {
        let labels = FailoverLabels {
            endpoint: Arc::clone(endpoint),
            reason: said.label(),
        };
        self.0.failovers.get_or_create(&labels).inc();
    }

    pub(super) fn counted(
        &self,
        endpoint: &Arc<str>,
        seat: &Seat,
        tokens: TokenCounts,
        estimated: bool,
    ) {
        for (direction, n) in [("input", tokens.input), ("output", tokens.output)] {
            let labels = TokenLabels {
                endpoint: Arc::clone(endpoint),
                model: seat.model().clone(),
                direction,
            };
            self.0.tokens.get_or_create(&labels).inc_by(n);
        }
        if estimated {
            self.0.estimated.inc();
        }
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
        self.route = Some(match (leased.waited, leased.lease.is_cold()) {
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

    /// The meter goes on with the answer's body.
    pub(super) fn take(&mut self) -> Self {
        let taken = self.clone();
        self.counted = true;
        taken
    }

    pub(super) fn first_byte(&self, endpoint: &Endpoint, seat: &Seat) {
        let labels = pair(endpoint, seat);
        let elapsed = self.arrived.elapsed().as_secs_f64();
        self.meters
            .0
            .first_byte_seconds
            .get_or_create(&labels)
            .observe(elapsed);
    }

    /// The answer is over.
    pub(super) fn ended(&mut self, endpoint: &Endpoint, seat: Option<&Seat>, status: u16) {
        self.counted = true;
        let model = seat.map_or_else(|| "".into(), |seat| seat.model().shared());
        self.request(Arc::clone(endpoint.name()), model, status);
        if let Some(seat) = seat {
            let elapsed = self.arrived.elapsed().as_secs_f64();
            self.meters
                .0
                .request_seconds
                .get_or_create(&pair(endpoint, seat))
                .observe(elapsed);
        }
    }

    /// There was no answer.
    pub(super) fn refused(&mut self, status: u16) {
        self.counted = true;
        self.request("".into(), "".into(), status);
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    fn request(&self, endpoint: Arc<str>, model: Arc<str>, status: u16) {
        let labels = RequestLabels {
            endpoint,
            model,
            path: self.api.path(),
            status,
        };
        self.meters.0.requests.get_or_create(&labels).inc();
    }
}

impl Drop for Meter {
    /// The client left before there was anything to tell it: 499, as nginx and Ollama call it.
    fn drop(&mut self) {
        if !self.counted {
            self.request("".into(), "".into(), 499);
        }
    }
}

fn pair(endpoint: &Endpoint, seat: &Seat) -> PairLabels {
    PairLabels {
        endpoint: Arc::clone(endpoint.name()),
        model: seat.model().clone(),
    }
}
