//! One request, once: peek, lease, send, relay, finish.
//!
//! Owns the order of these steps and the decision to try another server. It brings fleet, spend
//! and usage together, which do not know one another. It must not know SQL, Redis, the
//! configuration, or how an error looks in a dialect.
//!
//! Everything a request holds is held by values that give it back when dropped, so a client that
//! leaves, at whatever step, needs no code: its future is dropped and the line, the slot and the
//! upstream connection with it. What must happen when an answer ends happens in one place,
//! [`relay`], exactly once.
//!
//! Failures before the first byte move the request to another server; a failure after it ends the
//! stream with an error the client cannot mistake for the end of an answer.

mod attempt;
mod error;
mod inbound;
mod journal;
mod meters;
mod relay;
mod respond;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use inbound::Inbound;
pub use meters::Meters;
pub use relay::Relay;

use crate::domain::ModelName;
use crate::fleet::{Ask, Denied, Fleet, Outcome};
use crate::protocol::{AskUsage, peek, with_usage};
use crate::spend::Spend;
use crate::upstream::Client;
use crate::usage::Usage;
use attempt::{Said, Try};
use journal::JournalGate;
use relay::Account;

/// The patience and persistence of requests.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many servers one request may be tried on.
    pub attempts: u32,
    /// How long a request may wait in line.
    pub queue_timeout: Duration,
    /// How long a server may take to begin its answer.
    pub first_byte_timeout: Duration,
    /// How long a server may be silent inside its answer.
    pub idle_timeout: Duration,
}

/// What every request needs; shared.
pub struct Gateway {
    pub(crate) fleet: Fleet,
    pub(crate) client: Client,
    pub(crate) spend: Spend,
    pub(crate) usage: Usage,
    pub(crate) meters: Meters,
    rules: Rules,
    journal: JournalGate,
    /// No new work is taken.
    closing: CancellationToken,
    /// Open streams are cut, with an error the client can see.
    cutting: CancellationToken,
}

impl Gateway {
    /// Brings the parts together.
    #[must_use]
    pub fn new(
        fleet: Fleet,
        client: Client,
        spend: Spend,
        usage: Usage,
        meters: Meters,
        rules: Rules,
    ) -> Arc<Self> {
        let (closing, cutting) = (CancellationToken::new(), CancellationToken::new());
        Arc::new(Self {
            fleet,
            client,
            spend,
            usage,
            meters,
            rules,
            journal: JournalGate::new(Instant::now()),
            closing,
            cutting,
        })
    }

    /// The herd.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What is used now.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Takes no new request, and sends home those that wait in line.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Ends when no new request is taken any more.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// True while new requests are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.closing.is_cancelled()
    }

    /// Ends every open stream with an error.
    pub fn cut(&self) {
        self.cutting.cancel();
    }

    /// One request to one answer.
    ///
    /// # Errors
    /// [`Error`], when there is no answer of a server's to pass on.
    pub async fn infer(self: &Arc<Self>, inbound: Inbound) -> Result<Response<Relay>, Error> {
        let mut meter = self.meters.arrived(inbound.api);
        let answered = self.answer(inbound, &mut meter).await;
        if let Err(error) = &answered {
            meter.refused(error.status().as_u16());
        }
        answered
    }

    async fn answer(
        self: &Arc<Self>,
        inbound: Inbound,
        meter: &mut meters::Meter,
    ) -> Result<Response<Relay>, Error> {
        let api = inbound.api;
        let peeked = peek(api, &inbound.body)?;
        let named = peeked.model.clone().into_owned();
        let model = ModelName::parse(&named).map_err(|_| Error::InvalidModelName)?;
        let (body, hide_usage) = match &peeked.usage {
            AskUsage::Splice(splice) => (with_usage(&inbound.body, splice), true),
            AskUsage::Unasked | AskUsage::Asked => (inbound.body.clone(), false),
        };
        let prompt_bytes = peeked.prompt_bytes;
        if api.takes_slot() && !self.journal.admits(&self.spend, Instant::now()) {
            return Err(Error::JournalDown);
        }
        let request = attempt::Request {
            api,
            headers: inbound.headers,
            body,
        };
        let mut ask = Ask {
            model,
            ticket: self.fleet.arrive(),
            deadline: Instant::now() + self.rules.queue_timeout,
            only: inbound.only,
            tried: Vec::new(),
        };
        let mut last: Option<Said> = None;
        for attempt in 1..=self.rules.attempts {
            let slot = match self.slot(&ask, api.takes_slot(), meter).await {
                Ok(slot) => slot,
                Err(Error::Denied(Denied::Unreachable | Denied::UnknownModel, _))
                    if last.is_some() =>
                {
                    break;
                }
                Err(Error::Denied(denied, _)) => return Err(Error::Denied(denied, named)),
                Err(error) => return Err(error),
            };
            meter.sent();
            let endpoint = Arc::clone(slot.endpoint());
            match self.attempt(&slot, &request).await {
                Try::Answered { head, first, body } => {
                    let route = respond::Route {
                        endpoint: &endpoint,
                        attempt,
                        meter,
                    };
                    let (head, format) = respond::head(head, &inbound.id, &route);
                    let account = Account::new(self, slot, meter.take(), &inbound.id, prompt_bytes);
                    let relay =
                        Relay::new(account, api, format, hide_usage, head.status, first, body);
                    return Ok(Response::from_parts(head, relay));
                }
                Try::Elsewhere { fault, said } => {
                    tracing::info!(
                        request = inbound.id.to_str().unwrap_or_default(),
                        endpoint = %endpoint.name(),
                        model = %ask.model,
                        attempt,
                        why = %said,
                        "server failed the request before its first byte"
                    );
                    self.meters.failed_over(endpoint.name(), &said);
                    ask.tried.push(endpoint.id());
                    slot.end(Outcome::Failed(fault));
                    self.usage.touched();
                    last = Some(said);
                }
                Try::Over(error) => {
                    slot.end(error.outcome());
                    self.usage.touched();
                    return Err(error);
                }
            }
        }
        match last {
            Some(said) => Err(Error::Exhausted(Box::new(said))),
            None => Err(Error::Denied(Denied::Unreachable, named)),
        }
    }

    /// A server to ask: with a slot, or, for questions that need none, without.
    async fn slot(
        &self,
        ask: &Ask,
        takes_slot: bool,
        meter: &mut meters::Meter,
    ) -> Result<attempt::Slot, Error> {
        let named = String::new;
        if !takes_slot {
            let endpoint = self
                .fleet
                .pick(ask)
                .map_err(|denied| self.denied(denied, named()))?;
            return Ok(attempt::Slot::None(endpoint));
        }
        let asked = Instant::now();
        let leased = tokio::select! {
            biased;
            leased = self.fleet.lease(ask) => leased,
            () = self.closing.cancelled() => return Err(Error::Closing),
        };
        let leased = leased.map_err(|denied| self.denied(denied, named()))?;
        meter.leased(asked, &leased);
        self.usage.touched();
        Ok(attempt::Slot::Leased(leased.lease))
    }

    fn denied(&self, denied: Denied, named: String) -> Error {
        if denied == Denied::UnknownModel {
            // Perhaps it was pulled on a server a moment ago: look, for the next request's sake.
            self.fleet.refresh_catalogues();
        }
        Error::Denied(denied, named)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
