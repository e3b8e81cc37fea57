//! The steps of one request, in order.

use std::sync::Arc;

use http::header::HeaderValue;
use http::{Response, StatusCode};
use tokio::time::Instant;
use tracing::Instrument;

use super::attempt::{Slot, Stopped};
use super::blame::{Blame, Next};
use super::exchange::Exchange;
use super::meters::Meter;
use super::relay::BYTES_PER_TOKEN;
use super::server_error::ServerError;
use super::{Answer, Error, Gateway, Inbound};
use crate::access::{self, Caller, Reservation};
use crate::backend::{ClientRequest, Probe};
use crate::domain::ModelName;
use crate::faults::Fault;
use crate::fleet::{Considered, Denied, LeaseRequest};
use crate::protocol::{Api, Unload, peek, settle};

/// What an error quotes of a name that is none is no longer.
const QUOTED: usize = 1024;

/// What is known of a request before a server is chosen.
struct Prepared {
    request: Arc<ClientRequest>,
    lease_request: LeaseRequest,
    id: HeaderValue,
    prompt_bytes: usize,
    /// It takes a slot.
    computes: bool,
    caller: Caller,
    /// The end user that the client names.
    user: Option<String>,
    tags: Vec<Arc<str>>,
    max_output: Option<u64>,
}

/// Why there is no server to send to.
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
        // Kept from `debug` on: an open span costs a request a tenth of its CPU, and what is logged about
        // requests above that level names them itself.
        let span = tracing::debug_span!("request", id, path = inbound.api.path());
        let tracked = meter.request().map(Arc::clone);
        let cancelled = async {
            match &tracked {
                Some(request) => request.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answered = self.answer(inbound, meter).instrument(span) => answered,
            // What it holds is given back, as when its client leaves.
            () = cancelled => Err(Error::Cancelled),
        }
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
            let status = error.status().as_u16();
            match error {
                Error::UnknownModel(..) => meter.unknown_model(status),
                _ => meter.refused(status),
            }
        }
        answered
    }

    /// Admits the request, and if it gets no answer, records that for its payers.
    async fn admitted(
        self: &Arc<Self>,
        mut prepared: Prepared,
        meter: &mut Meter,
    ) -> Result<Response<Answer>, Error> {
        let computes = prepared.computes;
        let model = prepared.lease_request.model.clone();
        let (key, streamed) = (prepared.caller.key(), prepared.request.streamed);
        meter.note(|request| request.asks(&model, key, streamed));
        let admission = prepared.admission();
        let mut reservation = tokio::select! {
            biased;
            reservation = self.access.admit(&prepared.caller, &admission) => reservation?,
            () = self.cutting.cancelled() => return Err(Error::Closing),
        };
        let servers = reservation.take_servers();
        prepared.lease_request.within.extend(servers);
        let mut reservation = Some(reservation);
        let answered = self.serve(prepared, meter, &mut reservation).await;
        if let (Err(_), Some(reservation), true) = (&answered, reservation, computes) {
            self.record_failed(reservation, model);
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
        let settled;
        let (body, peeked) = match peek(api, &body) {
            Ok(peeked) => (&body, peeked),
            Err(refused) if refused.can_be_settled() => {
                settled = settle(api, &body);
                (&settled, peek(api, &settled)?)
            }
            Err(refused) => return Err(refused.into()),
        };
        let model = self.model(api, &peeked.model)?;
        let (tags, only) = (access::tags(&tags)?, only?);
        let computes = api.takes_slot() && peeked.unload != Unload::Only;
        if computes && !self.journal.admits(&self.spend, Instant::now()) {
            return Err(Error::JournalDown);
        }
        let mut lease_request = LeaseRequest {
            model,
            api,
            arrival: self.fleet.arrive(),
            deadline: Instant::now(),
            only,
            within: Vec::new(),
            tried: Vec::new(),
        };
        let mut request = ClientRequest {
            api,
            headers,
            model_at: peeked.model_at,
            model: peeked.model.into_owned(),
            streamed: peeked.stream,
            choices: peeked.choices,
            usage: peeked.usage,
            unload: peeked.unload,
            load_options: peeked.load_options,
            replaced: Vec::new(),
            keep_alive: None,
            body: body.clone(),
        };
        self.terms.apply(&mut request, &mut lease_request);
        Ok(Prepared {
            request: Arc::new(request),
            lease_request,
            id,
            prompt_bytes: peeked.prompt_bytes,
            computes,
            caller,
            user: peeked.user.map(std::borrow::Cow::into_owned),
            tags,
            max_output: peeked.max_output,
        })
    }

    /// A name that Ollama would refuse may be one on another kind of server. Only chats look at the form of the name
    /// first; for all others it is one that no server has.
    fn model(&self, api: Api, named: &str) -> Result<ModelName, Error> {
        ModelName::parse(named)
            .or_else(|invalid| {
                if self.fleet.view().has_other_than_ollama() {
                    ModelName::parse_any(named)
                } else {
                    Err(invalid)
                }
            })
            .map_err(|_| match api {
                Api::OllamaChat | Api::OpenAiChat => Error::InvalidModelName,
                _ if named.len() > QUOTED => Error::InvalidModelName,
                _ => Error::UnknownModel(api, named.to_owned()),
            })
    }

    /// Tries servers until one begins to answer.
    async fn serve(
        self: &Arc<Self>,
        mut prepared: Prepared,
        meter: &mut Meter,
        reservation: &mut Option<Reservation>,
    ) -> Result<Response<Answer>, Error> {
        let mut last: Option<ServerError> = None;
        let mut blame = Blame::of(prepared.request.api);
        let mut only = Some(prepared.lease_request.only.clone());
        if prepared.request.unload == Unload::Only {
            Box::pin(self.unload_elsewhere(&prepared.request, &mut prepared.lease_request)).await?;
        }
        for attempt in 1..=self.rules.attempts {
            let mut slot = self.slot(&mut prepared, meter).await;
            if let Err(NoSlot::Denied(denied)) = &slot
                && is_not_found(*denied, last.as_ref())
                && let Some(only) = only.take()
            {
                // Perhaps it has come to another server since.
                prepared.lease_request.only = only;
                Box::pin(self.relist(&prepared.lease_request)).await;
                slot = self.slot(&mut prepared, meter).await;
            }
            let slot = match slot {
                Ok(slot) => slot,
                Err(NoSlot::Closing) => return Err(Error::Closing),
                // The servers that are left have said when to come again; the others not a word.
                Err(NoSlot::Denied(denied @ Denied::Paused(_)))
                    if last.as_ref().is_some_and(|last| last.answer().is_none()) =>
                {
                    return Err(self.denied(denied, &prepared));
                }
                // No server is left to try, or none in time: the last one's error is the answer.
                Err(NoSlot::Denied(_)) if last.is_some() => break,
                Err(NoSlot::Denied(denied)) => {
                    let considered = self.fleet.considered(&prepared.lease_request);
                    meter.note(|request| request.denied(considered));
                    return Err(self.denied(denied, &prepared));
                }
            };
            meter.sent();
            let exchange = Exchange {
                gateway: Arc::clone(self),
                slot,
                meter: meter.take(),
                reservation: reservation.take(),
                request: Arc::clone(&prepared.request),
                prompt_bytes: prepared.prompt_bytes,
            };
            let (tried, exchange) = exchange.attempt().await;
            let stopped = match tried {
                Ok(began) => {
                    // A refusal may be the same one in other words.
                    if began.head.status.is_success() {
                        blame.confirm();
                    }
                    if !prepared.computes {
                        exchange.slot.endpoint().worked_without_slot();
                    }
                    if prepared.request.unload == Unload::Only && began.head.status.is_success() {
                        let endpoint = exchange.slot.endpoint();
                        endpoint.unloaded(&prepared.lease_request.model);
                    }
                    return Ok(exchange.answer(began, &prepared.id, attempt));
                }
                Err(stopped) => stopped,
            };
            let slot = exchange.give_back(meter, reservation);
            match stopped {
                Stopped::Failover {
                    fault,
                    server_error,
                } => {
                    self.failed_over(&prepared, slot.endpoint(), attempt, &server_error);
                    meter.note(|request| request.failed(server_error.label()));
                    if !prepared.computes {
                        let endpoint = slot.endpoint();
                        endpoint.failed_without_slot(&prepared.lease_request.model, fault);
                    }
                    if fault == Fault::Unsupported {
                        // It may serve the API, and not have the model any more.
                        slot.endpoint().refresh(Probe::Models);
                    }
                    prepared
                        .lease_request
                        .tried
                        .push(Arc::clone(slot.endpoint().url()));
                    let next = blame.failed(slot, fault, &server_error);
                    last = Some(server_error.or_answer(last.take()));
                    if next == Next::Nothing {
                        break;
                    }
                }
                Stopped::Over(error) => {
                    slot.end(error.outcome());
                    return Err(error);
                }
            }
        }
        blame.conclude();
        let unreachable = || Error::Denied(Denied::Unreachable, prepared.request.model.clone());
        Err(last.map_or_else(unreachable, |server_error| {
            Error::Exhausted(Box::new(server_error))
        }))
    }

    /// A server to send to: with a slot, or, for requests that need none, without. The time a request has
    /// lost on servers that failed it does not shorten its time in the queue.
    async fn slot(&self, prepared: &mut Prepared, meter: &mut Meter) -> Result<Slot, NoSlot> {
        let lease_request = &mut prepared.lease_request;
        if !prepared.computes {
            let picked = self.fleet.pick(lease_request).map_err(NoSlot::Denied)?;
            meter.tries(&picked, Considered::default());
            return Ok(Slot::none(picked, &self.usage));
        }
        let asked = Instant::now();
        lease_request.deadline = asked + self.rules.queue_timeout.saturating_sub(meter.queued());
        let leased = tokio::select! {
            biased;
            leased = self.fleet.lease(lease_request) => leased.map_err(NoSlot::Denied)?,
            () = self.cutting.cancelled() => return Err(NoSlot::Closing),
        };
        meter.leased(asked, &leased);
        meter.tries(leased.lease.endpoint(), leased.considered);
        Ok(Slot::leased(leased.lease, &prepared.request, &self.usage))
    }

    /// Models of Ollama's cloud are on no server, and asking for one again does not change that.
    fn is_cloud(&self, model: &ModelName) -> bool {
        model.is_cloud() && self.fleet.view().has_ollama()
    }

    async fn relist(&self, request: &LeaseRequest) {
        if !self.is_cloud(&request.model) {
            self.fleet.relist(|view| request.is_served_by(view)).await;
        }
    }

    fn denied(&self, denied: Denied, prepared: &Prepared) -> Error {
        let named = prepared.request.model.clone();
        match denied {
            Denied::UnknownModel if self.is_cloud(&prepared.lease_request.model) => {
                Error::NoCloud(prepared.request.api)
            }
            Denied::UnknownModel => Error::UnknownModel(prepared.request.api, named),
            denied => Error::Denied(denied, named),
        }
    }

    fn failed_over(
        &self,
        prepared: &Prepared,
        endpoint: &crate::fleet::Endpoint,
        attempt: u32,
        server_error: &ServerError,
    ) {
        tracing::info!(
            request = prepared.id.to_str().unwrap_or_default(),
            endpoint = %endpoint.name(),
            model = %prepared.lease_request.model,
            attempt,
            why = %server_error,
            "server failed the request before its first byte"
        );
        self.meters.failed_over(endpoint.name(), server_error);
    }
}

/// Whether the client would be told that there is no such model, or that whoever has it is away.
fn is_not_found(denied: Denied, last: Option<&ServerError>) -> bool {
    match last {
        None => matches!(denied, Denied::UnknownModel | Denied::Unreachable),
        Some(error) => error.status() == StatusCode::NOT_FOUND,
    }
}

impl Prepared {
    fn admission(&self) -> access::AccessRequest<'_> {
        let bytes = u64::try_from(self.prompt_bytes).unwrap_or_default();
        access::AccessRequest {
            model: &self.lease_request.model,
            input: bytes.div_ceil(BYTES_PER_TOKEN),
            max_output: self.max_output,
            computes: self.computes,
            user: self.user.as_deref(),
            tags: &self.tags,
        }
    }
}
