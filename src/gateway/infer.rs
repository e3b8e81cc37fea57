//! The steps of one request, in order.

use std::sync::Arc;

use http::Response;
use http::header::HeaderValue;
use tokio::time::Instant;
use tracing::Instrument;

use super::attempt::{Request, Said, Slot, Try};
use super::meters::Meter;
use super::relay::{Account, BYTES_PER_TOKEN};
use super::{Error, Gateway, Inbound, Relay, respond};
use crate::access::{self, Caller, Ticket};
use crate::domain::ModelName;
use crate::fleet::{Ask, Denied, Outcome};
use crate::protocol::{Api, AskUsage, peek, with_usage};

/// What is known of a request before any server is.
struct Prepared {
    request: Request,
    ask: Ask,
    /// The model as the client spelt it.
    named: String,
    id: HeaderValue,
    /// The client did not ask for the usage that its answer will say.
    hides_usage: bool,
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
    pub async fn infer(self: &Arc<Self>, inbound: Inbound) -> Result<Response<Relay>, Error> {
        let _open = self.open.token();
        let id = inbound.id.to_str().unwrap_or_default();
        // Kept from `debug` on: an open span costs a request a tenth of its CPU, and what is said about
        // requests above that level names them itself.
        let span = tracing::debug_span!("request", id, path = inbound.api.path());
        self.answer(inbound).instrument(span).await
    }

    async fn answer(self: &Arc<Self>, inbound: Inbound) -> Result<Response<Relay>, Error> {
        let mut meter = self.meters.arrived(inbound.api);
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
    ) -> Result<Response<Relay>, Error> {
        let computes = prepared.request.api.takes_slot();
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
        let model = ModelName::parse(&peeked.model).map_err(|_| Error::InvalidModelName)?;
        let tags = access::tags(&tags)?;
        if api.takes_slot() && !self.journal.admits(&self.spend, Instant::now()) {
            return Err(Error::JournalDown);
        }
        let (asking, hides_usage) = match &peeked.usage {
            AskUsage::Splice(splice) => (with_usage(&body, splice), true),
            AskUsage::Unasked | AskUsage::Asked => (body.clone(), false),
        };
        let ask = Ask {
            model,
            ticket: self.fleet.arrive(),
            deadline: Instant::now(),
            only,
            tried: Vec::new(),
        };
        Ok(Prepared {
            request: Request {
                api,
                headers,
                body: asking,
            },
            ask,
            named: peeked.model.into_owned(),
            id,
            hides_usage,
            prompt_bytes: peeked.prompt_bytes,
            caller,
            user: peeked.user.map(std::borrow::Cow::into_owned),
            tags,
            max_output: peeked.max_output,
        })
    }

    /// Tries servers until one begins to answer.
    async fn serve(
        self: &Arc<Self>,
        mut prepared: Prepared,
        meter: &mut Meter,
        ticket: &mut Option<Ticket>,
    ) -> Result<Response<Relay>, Error> {
        let api = prepared.request.api;
        let mut last: Option<Said> = None;
        for attempt in 1..=self.rules.attempts {
            let slot = match self.slot(&mut prepared.ask, api, meter).await {
                Ok(slot) => slot,
                Err(NoSlot::Closing) => return Err(Error::Closing),
                // Nobody is left to ask: what the last one said is the answer.
                Err(NoSlot::Denied(Denied::Unreachable | Denied::UnknownModel))
                    if last.is_some() =>
                {
                    break;
                }
                Err(NoSlot::Denied(denied)) => {
                    return Err(self.denied(denied, api, prepared.named));
                }
            };
            meter.sent();
            match self.attempt(&slot, &prepared.request).await {
                Try::Answered { head, first, body } => {
                    let route = respond::Route {
                        endpoint: slot.endpoint(),
                        attempt,
                        meter,
                    };
                    let (head, format) = respond::head(head, &prepared.id, &route);
                    let meter = meter.take();
                    let ticket = ticket.take();
                    let account = Account::new(self, slot, meter, ticket, prepared.prompt_bytes);
                    let hides = prepared.hides_usage;
                    let relay = Relay::new(account, api, format, hides, head.status, first, body);
                    return Ok(Response::from_parts(head, relay));
                }
                Try::Elsewhere { fault, said } => {
                    self.failed_over(&prepared, slot.endpoint(), attempt, &said);
                    prepared.ask.tried.push(slot.endpoint().id());
                    slot.end(Outcome::Failed(fault));
                    last = Some(said);
                }
                Try::Over(error) => {
                    slot.end(error.outcome());
                    return Err(error);
                }
            }
        }
        let unreachable = || Error::Denied(Denied::Unreachable, prepared.named);
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

    fn denied(&self, denied: Denied, api: Api, named: String) -> Error {
        if denied != Denied::UnknownModel {
            return Error::Denied(denied, named);
        }
        // Perhaps it was pulled on a server a moment ago: look, for the next request's sake.
        self.fleet.refresh_catalogues();
        Error::UnknownModel(api, named)
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
            computes: self.request.api.takes_slot(),
            user: self.user.as_deref(),
            tags: &self.tags,
        }
    }
}
