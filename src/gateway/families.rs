//! The metric families of requests.

use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::load_meters::LoadMeters;
use super::requests::Requests;
use crate::metrics::{
    ANSWER_SECONDS, Labelled, OVERHEAD_SECONDS, PairLabels, Registry, RequestLabels, TokenLabels,
    WAIT_SECONDS, histogram,
};
use crate::protocol::Api;

type Histograms = Labelled<PairLabels, Histogram>;
type Counters<L> = Labelled<L, Counter>;

#[derive(Clone, Debug)]
pub(super) struct Families {
    pub(super) requests: Counters<RequestLabels>,
    pub(super) request_seconds: Histograms,
    pub(super) first_byte_seconds: Histograms,
    pub(super) queue_seconds: Histogram,
    pub(super) overhead_seconds: Histogram,
    pub(super) tokens: Counters<TokenLabels>,
    pub(super) estimated: Counter,
    pub(super) failovers: Counters<FailoverLabels>,
    pub(super) all: Requests,
    pub(super) loads: LoadMeters,
    /// By the slot pool's serial: a request finds its series with one number and not with six labels.
    pub(super) pairs: DashMap<u64, Arc<Pair>, RandomState>,
}

/// The series of one model on one server.
#[derive(Debug)]
pub(super) struct Pair {
    /// Of the server.
    pub(super) generation: u64,
    pub(super) labels: PairLabels,
    pub(super) first_byte_seconds: Histogram,
    pub(super) request_seconds: Histogram,
    pub(super) input: Counter,
    pub(super) output: Counter,
    /// Answers with status 200, by API.
    pub(super) answered: [OnceLock<Counter>; Api::ALL.len()],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
pub(super) struct FailoverLabels {
    pub(super) endpoint: Arc<str>,
    pub(super) reason: &'static str,
}

impl Families {
    /// Makes them known to `registry`.
    pub(super) fn register(registry: &mut Registry, requests: Requests) -> Self {
        let families = Self {
            requests: Labelled::new(Counter::default),
            request_seconds: Labelled::new(answer_histogram),
            first_byte_seconds: Labelled::new(answer_histogram),
            queue_seconds: histogram(WAIT_SECONDS),
            overhead_seconds: histogram(OVERHEAD_SECONDS),
            tokens: Labelled::new(Counter::default),
            estimated: Counter::default(),
            failovers: Labelled::new(Counter::default),
            all: requests,
            loads: LoadMeters::register(registry),
            pairs: DashMap::default(),
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
            "Time a request spent inside the router, waiting for a slot excluded",
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
        families
    }
}

fn answer_histogram() -> Histogram {
    histogram(ANSWER_SECONDS)
}
