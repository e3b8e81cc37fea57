//! The steps of one request, in order.

use std::sync::Arc;

use http::Response;
use http::header::HeaderValue;
use tokio::time::Instant;
use tracing::Instrument;

use super::attempt::{Said, Slot, Stopped};
use super::exchange::Exchange;
use super::meters::Meter;
use super::relay::BYTES_PER_TOKEN;
use super::{Answer, Error, Gateway, Inbound};
use crate::access::{self, Caller, Ticket};
use crate::backend::{Call, Fault, Probe};
use crate::domain::ModelName;
use crate::fleet::{Ask, Denied, Outcome};
use crate::protocol::{Api, peek};

/// What is known of a request before any server is.
struct Prepared {
    call: Arc<Call>,
    ask: Ask,
    id: HeaderValue,
    prompt_bytes: usize,
    caller: Caller,
    /// Who the client says it asks for.
    user: Option<String>,
    tags: Vec<Arc<str>>,
    max_output: Option<u64>,
}

/// Why there is no server to ask.
enum NoSlot {
    Denied(Denied),
    Closing,
}

impl Gateway {
    /// One request to one answer.
    ///
    /// # Errors
    /// [`Error`], when there is no answer of a server's to pass on.
    pub async fn infer(
        self: &Arc<Self>,
        inbound: Inbound,
        meter: Meter,
    ) -> Result<Response<Answer>, Error> {
        let _open = self.open.token();
        let id = inbound.id.to_str().unwrap_or_default();
        // Kept from `debug` on: an open span costs a request a tenth of its CPU, and what is said about
        // requests above that level names them itself.
        let span = tracing::debug_span!("request", id, path = inbound.api.path());
        self.answer(inbound, meter).instrument(span).await
    }

    async fn answer(
        self: &Arc<Self>,
        inbound: Inbound,
        mut meter: Meter,
    ) -> Result<Response<Answer>, Error> {
        let answered = match self.prepare(inbound) {
            Ok(prepared) => self.admitted(prepared, &mut meter).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &answered {
            meter.refused(error.status().as_u16());
        }
        answered
    }

    /// Lets the request in, and if nothing came of it, writes that down for whoever would have paid.
    async fn admitted(
        self: &Arc<Self>,
        prepared: Prepared,
        meter: &mut Meter,
    ) -> Result<Response<Answer>, Error> {
        let computes = prepared.call.api.takes_slot();
        let model = prepared.ask.model.clone();
        let asks = prepared.asks();
        let ticket = tokio::select! {
            biased;
            ticket = self.access.admit(&prepared.caller, &asks) => ticket?,
            () = self.closing.cancelled() => return Err(Error::Closing),
        };
        let mut ticket = Some(ticket);
        let answered = self.serve(prepared, meter, &mut ticket).await;
        if let (Err(_), Some(ticket), true) = (&answered, ticket, computes) {
            self.came_to_nothing(ticket, model);
        }
        answered
    }

    fn prepare(&self, inbound: Inbound) -> Result<Prepared, Error> {
        let Inbound {
            api,
            headers,
            body,
            id,
            caller,
            tags,
            only,
        } = inbound;
        if !self.is_open() {
            return Err(Error::Closing);
        }
        let peeked = peek(api, &body)?;
        let model = self.model(&peeked.model)?;
        let tags = access::tags(&tags)?;
        if api.takes_slot() && !self.journal.admits(&self.spend, Instant::now()) {
            return Err(Error::JournalDown);
        }
        let ask = Ask {
            model,
            api,
            ticket: self.fleet.arrive(),
            deadline: Instant::now(),
            only,
            tried: Vec::new(),
        };
        let call = Call {
            api,
            headers,
            model_at: peeked.model_at,
            model: peeked.model.into_owned(),
            streamed: peeked.stream,
            usage: peeked.usage,
            body: body.clone(),
        };
        Ok(Prepared {
            call: Arc::new(call),
            ask,
            id,
            prompt_bytes: peeked.prompt_bytes,
            caller,
            user: peeked.user.map(std::borrow::Cow::into_owned),
            tags,
            max_output: peeked.max_output,
        })
    }

    /// A name that Ollama would refuse may be one on another kind of server.
    fn model(&self, named: &str) -> Result<ModelName, Error> {
        ModelName::parse(named)
            .or_else(|invalid| {
                if self.fleet.view().has_other_than_ollama() {
                    ModelName::parse_any(named)
                } else {
                    Err(invalid)
                }
            })
            .map_err(|_| Error::InvalidModelName)
    }

    /// Tries servers until one begins to answer.
    async fn serve(
        self: &Arc<Self>,
        mut prepared: Prepared,
        meter: &mut Meter,
        ticket: &mut Option<Ticket>,
    ) -> Result<Response<Answer>, Error> {
        let api = prepared.call.api;
        let mut last: Option<Said> = None;
        for attempt in 1..=self.rules.attempts {
            let slot = match self.slot(&mut prepared.ask, api, meter).await {
                Ok(slot) => slot,
                Err(NoSlot::Closing) => return Err(Error::Closing),
                // Nobody is left to ask: what the last one said is the answer.
                Err(NoSlot::Denied(
                    Denied::Unreachable | Denied::Unsupported | Denied::UnknownModel,
                )) if last.is_some() => {
                    break;
                }
                Err(NoSlot::Denied(denied)) => {
                    return Err(self.denied(denied, &prepared.call));
                }
            };
            meter.sent();
            let exchange = Exchange {
                gateway: Arc::clone(self),
                slot,
                meter: meter.take(),
                ticket: ticket.take(),
                call: Arc::clone(&prepared.call),
                prompt_bytes: prepared.prompt_bytes,
            };
            let (tried, exchange) = exchange.attempt().await;
            let stopped = match tried {
                Ok(began) => return Ok(exchange.answer(began, &prepared.id, attempt)),
                Err(stopped) => stopped,
            };
            let slot = exchange.give_back(meter, ticket);
            match stopped {
                Stopped::Elsewhere { fault, said } => {
                    self.failed_over(&prepared, slot.endpoint(), attempt, &said);
                    if fault == Fault::Unsupported {
                        // It may have the call, and not the model any more.
                        slot.endpoint().refresh(Probe::Models);
                    }
                    prepared.ask.tried.push(slot.endpoint().id().generation);
                    slot.end(Outcome::Failed(fault));
                    last = Some(said);
                }
                Stopped::Over(error) => {
                    slot.end(error.outcome());
                    return Err(error);
                }
            }
        }
        let unreachable = || Error::Denied(Denied::Unreachable, prepared.call.model.clone());
        Err(last.map_or_else(unreachable, |said| Error::Exhausted(Box::new(said))))
    }

    /// A server to ask: with a slot, or, for questions that need none, without. What a request has
    /// lost on servers that failed it does not shorten its patience in line.
    async fn slot(&self, ask: &mut Ask, api: Api, meter: &mut Meter) -> Result<Slot, NoSlot> {
        if !api.takes_slot() {
            let picked = self.fleet.pick(ask).map_err(NoSlot::Denied)?;
            return Ok(Slot::none(picked, &self.usage));
        }
        let asked = Instant::now();
        ask.deadline = asked + self.rules.queue_timeout.saturating_sub(meter.queued());
        let leased = tokio::select! {
            biased;
            leased = self.fleet.lease(ask) => leased.map_err(NoSlot::Denied)?,
            () = self.closing.cancelled() => return Err(NoSlot::Closing),
        };
        meter.leased(asked, &leased);
        Ok(Slot::leased(leased.lease, &self.usage))
    }

    fn denied(&self, denied: Denied, call: &Call) -> Error {
        let named = call.model.clone();
        if denied != Denied::UnknownModel {
            return Error::Denied(denied, named);
        }
        // Perhaps it was pulled on a server a moment ago: look, for the next request's sake.
        self.fleet.refresh_catalogues();
        Error::UnknownModel(call.api, named)
    }

    fn failed_over(
        &self,
        prepared: &Prepared,
        endpoint: &crate::fleet::Endpoint,
        attempt: u32,
        said: &Said,
    ) {
        tracing::info!(
            request = prepared.id.to_str().unwrap_or_default(),
            endpoint = %endpoint.name(),
            model = %prepared.ask.model,
            attempt,
            why = %said,
            "server failed the request before its first byte"
        );
        self.meters.failed_over(endpoint.name(), said);
    }
}

impl Prepared {
    fn asks(&self) -> access::Ask<'_> {
        let bytes = u64::try_from(self.prompt_bytes).unwrap_or_default();
        access::Ask {
            model: &self.ask.model,
            input: bytes.div_ceil(BYTES_PER_TOKEN),
            max_output: self.max_output,
            computes: self.call.api.takes_slot(),
            user: self.user.as_deref(),
            tags: &self.tags,
        }
    }
}
