//! One try on one server, up to the first byte of its answer.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::response::Parts;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::blame::lacks;
use super::relay::Reading;
use super::server_error::ServerError;
use super::whole::Expected;
use super::{Error, Gateway, unload};
use crate::backend::{ClientRequest, Verdict};
use crate::domain::ModelName;
use crate::faults::Fault;
use crate::fleet::{Endpoint, Lease, Outcome, Settings, SlotPool};
use crate::protocol::{Api, Unload};
use crate::upstream::Failure;
use crate::usage::Usage;

/// Statuses that mean something at the end of an exchange.
const MEANT: std::ops::Range<u16> = 200..600;

/// The server being tried, with a slot of it, or, for requests that need none, without.
#[derive(Debug)]
pub(super) struct Slot {
    endpoint: Arc<Endpoint>,
    /// What was wanted of it when the slot was given.
    settings: Arc<Settings>,
    lease: Option<Lease>,
    /// The request tells the server to unload the model after it.
    unloads: bool,
    /// The server passes the request on to Ollama's cloud.
    to_cloud: bool,
    usage: Usage,
}

/// The beginning of an answer.
pub(super) struct Began {
    pub(super) head: Parts,
    pub(super) reading: Reading,
}

/// Why a try got no answer.
pub(super) enum Stopped {
    /// Another server may do better.
    Failover {
        fault: Fault,
        server_error: ServerError,
    },
    /// No other server shall be tried.
    Over(Error),
}

/// How a try went.
pub(super) type Try = Result<Began, Stopped>;

impl Gateway {
    pub(super) async fn attempt(&self, slot: &Slot, request: &ClientRequest) -> Try {
        // A load before it is part of its time.
        let deadline = slot.since() + self.limit(slot, request);
        let ejected = slot.ejected();
        tokio::select! {
            biased;
            began = timeout_at(deadline, self.begin(slot, request)) => {
                let mut began = began.unwrap_or_else(|_| Err(Stopped::by(Failure::Silent)))?;
                let reading = &mut began.reading;
                reading.due = (!reading.tail.has_begun()).then_some(deadline);
                Ok(began)
            }
            () = ejected.cancelled() => Err(Stopped::by(Failure::Ejected)),
            () = self.cutting.cancelled() => Err(Stopped::Over(Error::Closing)),
        }
    }

    /// How long a server may take to begin its answer.
    pub(super) fn limit(&self, slot: &Slot, request: &ClientRequest) -> Duration {
        match (slot.pool(), request.streamed) {
            (None, _) if request.unload == Unload::Only => unload::limit(slot.endpoint()),
            (None, _) => unload::LIMIT.min(self.rules.answer_timeout),
            (Some(_), true) => self.rules.first_byte_timeout,
            (Some(_), false) => self.rules.answer_timeout,
        }
    }

    async fn begin(&self, slot: &Slot, request: &ClientRequest) -> Try {
        let backend = &slot.settings.backend;
        let (sent, answer) = self.ask(slot, request).await?;
        if !MEANT.contains(&answer.status().as_u16()) {
            let failure = Failure::Garbled(format!("status {}", answer.status()));
            return Err(Stopped::by(failure));
        }
        let server_error = match backend.verdict(answer.status()) {
            Verdict::Failover => Box::pin(ServerError::read(answer)).await,
            Verdict::Pass => {
                let expected = Expected {
                    backend,
                    sent: &sent,
                    request,
                    idle: self.rules.idle_timeout,
                    budget: &self.kept,
                };
                match expected.first_byte(answer).await? {
                    Ok(began) => return Ok(began),
                    Err(server_error) => server_error,
                }
            }
        };
        Err(slot.failed(server_error, sent.api))
    }
}

// === impl Slot ===

impl Slot {
    pub(super) fn leased(mut lease: Lease, request: &ClientRequest, usage: &Usage) -> Self {
        usage.touched();
        if !request.streamed {
            lease.awaits_whole();
        }
        let endpoint = Arc::clone(lease.endpoint());
        let settings = endpoint.settings();
        Self {
            to_cloud: settings.cloud && lease.pool().model().is_cloud(),
            settings,
            endpoint,
            unloads: request.unload == Unload::After,
            lease: Some(lease),
            usage: usage.clone(),
        }
    }

    /// What the request is for.
    pub(super) fn of_model(mut self, model: &ModelName) -> Self {
        self.to_cloud = self.settings.cloud && model.is_cloud();
        self
    }

    /// For a load that no request waits for.
    pub(super) fn for_load(lease: Lease, usage: &Usage) -> Self {
        usage.touched();
        let endpoint = Arc::clone(lease.endpoint());
        Self {
            settings: endpoint.settings(),
            endpoint,
            lease: Some(lease),
            to_cloud: false,
            unloads: false,
            usage: usage.clone(),
        }
    }

    pub(super) fn none(endpoint: Arc<Endpoint>, usage: &Usage) -> Self {
        Self {
            settings: endpoint.settings(),
            endpoint,
            lease: None,
            to_cloud: false,
            unloads: false,
            usage: usage.clone(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// What was wanted of the server when the slot was given.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The slot pool, if there is a slot.
    pub(super) fn pool(&self) -> Option<&Arc<SlotPool>> {
        self.lease.as_ref().map(Lease::pool)
    }

    /// When it was given.
    pub(super) fn since(&self) -> Instant {
        let since = self.lease.as_ref().map(Lease::since);
        since.unwrap_or_else(Instant::now)
    }

    /// Whether the model has to be loaded before a request can be sent, or is being loaded.
    pub(super) fn awaits_load(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::awaits_load)
    }

    /// The model is loaded; if that was for this slot, what was loaded, and since when.
    pub(super) fn loaded(&self) -> Option<(&Arc<SlotPool>, Instant)> {
        let lease = self.lease.as_ref()?;
        lease.loaded();
        lease.is_cold().then(|| (lease.pool(), lease.since()))
    }

    /// The client has left, and the load goes on.
    pub(super) fn left_loading(&self) {
        if let Some(lease) = &self.lease {
            lease.left_loading();
        }
    }

    /// Whether the server goes on computing when its client has left, so that the
    /// slot must be held until it is complete.
    pub(super) fn completes_without_client(&self, streamed: bool) -> bool {
        self.lease.is_some() && self.settings.backend.completes_without_client(streamed)
    }

    /// Until when the exchange goes on without its client, which has left, if it does.
    pub(super) fn without_client_until(&self) -> Option<Instant> {
        self.lease.as_ref().and_then(Lease::without_client_until)
    }

    /// Returns when the model fails there.
    pub(super) async fn blamed(&self) {
        match &self.lease {
            Some(lease) => lease.blamed().await,
            None => pending().await,
        }
    }

    /// A piece of the answer has come.
    pub(super) fn delivered(&self) {
        if let Some(lease) = &self.lease {
            lease.delivered();
        }
    }

    /// The answer has begun.
    pub(super) fn first_byte(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.first_byte();
        }
    }

    /// The answer is over: its client may look at once at what is loaded.
    pub(super) fn ending(&self, status: StatusCode) {
        if let Some(lease) = &self.lease {
            lease.ending(self.unloads && status.is_success());
        }
    }

    /// Says how it ended; without this the client has left.
    pub(super) fn end(mut self, outcome: Outcome) {
        if let Some(lease) = self.lease.take() {
            lease.end(outcome);
        }
    }

    /// What follows for the request from an error that its server answered.
    pub(super) fn failed(&self, server_error: ServerError, api: Api) -> Stopped {
        let backend = &self.settings.backend;
        let status = server_error.status();
        if backend.verdict(status) == Verdict::Pass {
            // Said inside a 200, and as much the client's own.
            return Stopped::Over(Error::Exhausted(Box::new(server_error)));
        }
        if self.to_cloud && status.is_client_error() {
            // It is ollama.com that refuses the account of the server, or the request, and not the server.
            return Stopped::Over(Error::Exhausted(Box::new(server_error)));
        }
        let fault = server_error.fault(backend);
        if fault == Fault::Unsupported {
            lacks(&self.endpoint, self.pool(), api, status);
        }
        Stopped::Failover {
            fault,
            server_error: server_error.presentable(fault),
        }
    }

    pub(super) fn ejected(&self) -> CancellationToken {
        self.endpoint.ejected()
    }
}

impl Drop for Slot {
    /// First the count, then the notification.
    fn drop(&mut self) {
        drop(self.lease.take());
        self.usage.touched();
    }
}

// === impl Stopped ===

impl Stopped {
    pub(super) fn by(failure: Failure) -> Self {
        match failure.fault() {
            None => Self::Over(Error::Exhaustion(failure.to_string())),
            Some(fault) => Self::Failover {
                fault,
                server_error: ServerError::Nothing(failure),
            },
        }
    }
}
