//! The steps of one request, in order.

use std::sync::Arc;

use http::{Response, StatusCode};
use tokio::time::Instant;
use tracing::Instrument;

use super::attempt::{Slot, Stopped};
use super::blame::{Blame, Next};
use super::exchange::Exchange;
use super::meters::Meter;
use super::prepared::Prepared;
use super::refusal::is_refusal;
use super::server_error::ServerError;
use super::{Answer, Error, Gateway, Inbound};
use crate::access::Reservation;
use crate::backend::Probe;
use crate::domain::ModelName;
use crate::faults::Fault;
use crate::fleet::{Considered, Denied, FleetView, Leased};
use crate::protocol::Unload;

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
            // What it holds is given back, as when its client leaves.
            () = cancelled => Err(Error::Cancelled),
            answered = self.answer(inbound, meter).instrument(span) => answered,
        }
    }

    async fn answer(
        self: &Arc<Self>,
        inbound: Inbound,
        mut meter: Meter,
    ) -> Result<Response<Answer>, Error> {
        let prepared = self.prepare(inbound).and_then(|mut prepared| {
            self.resolve(&mut prepared)?;
            Ok(prepared)
        });
        let answered = match prepared {
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
        let model = &prepared.lease_request.model;
        let (key, streamed) = (prepared.caller.key(), prepared.request.streamed);
        meter.note(|request| request.asks(model, key, streamed));
        let mut reservation = Some(self.admit(&mut prepared).await?);
        let answered = self.serve(&mut prepared, meter, &mut reservation).await;
        if let (Err(_), Some(reservation), true) = (&answered, reservation, computes) {
            self.record_failed(reservation, prepared.lease_request.model);
        }
        answered
    }

    /// Tries servers until one begins to answer.
    async fn serve(
        self: &Arc<Self>,
        prepared: &mut Prepared,
        meter: &mut Meter,
        reservation: &mut Option<Reservation>,
    ) -> Result<Response<Answer>, Error> {
        let mut last: Option<ServerError> = None;
        let mut blame = Blame::of(prepared.request.api);
        let mut only = Some(prepared.lease_request.only.clone());
        // Of a server that is asked whether it refuses the request as well.
        let mut elsewhere = None;
        if prepared.request.unload == Unload::Only {
            Box::pin(self.unload_elsewhere(&prepared.request, &mut prepared.lease_request)).await?;
        }
        for attempt in 1..=self.rules.attempts {
            let is_doubted = elsewhere.is_some();
            let mut slot = match elsewhere.take() {
                Some(leased) => Ok(self.leased(leased, prepared, Instant::now(), meter)),
                None => self.slot(prepared, meter).await,
            };
            if let Err(NoSlot::Denied(denied)) = &slot
                && is_not_found(*denied, last.as_ref())
                && let Some(only) = only.take()
            {
                // Perhaps it has come to another server since.
                prepared.lease_request.only = only;
                match Box::pin(self.look_again(prepared)).await {
                    Ok(()) => slot = self.slot(prepared, meter).await,
                    // Another model may do.
                    Err(_) if !prepared.alternatives.is_empty() => {}
                    Err(error) => return Err(error),
                }
            }
            while let Err(NoSlot::Denied(denied)) = &slot
                && denied.is_final()
                && Box::pin(self.fall_back(prepared, reservation)).await?
            {
                let api = prepared.request.api;
                std::mem::replace(&mut blame, Blame::of(api)).conclude();
                slot = self.slot(prepared, meter).await;
            }
            let slot = match slot {
                Ok(slot) => slot,
                Err(NoSlot::Closing) => return Err(Error::Closing),
                // The servers that are left have said when to come again; the others not a word.
                Err(NoSlot::Denied(denied @ Denied::Paused(_)))
                    if last.as_ref().is_some_and(|last| last.answer().is_none()) =>
                {
                    return Err(self.denied(denied, prepared));
                }
                // No server is left to try, or none in time: the last one's error is the answer.
                Err(NoSlot::Denied(_)) if last.is_some() => break,
                Err(NoSlot::Denied(denied)) => {
                    let considered = self.fleet.considered(&prepared.lease_request);
                    meter.note(|request| request.denied(considered));
                    return Err(self.denied(denied, prepared));
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
            let (mut tried, exchange) = exchange.attempt().await;
            let may_ask = prepared.computes && attempt < self.rules.attempts && !is_doubted;
            if may_ask && is_refusal(&tried) {
                let endpoint = exchange.slot.endpoint();
                tried = match Box::pin(self.doubted(prepared, endpoint, tried)).await {
                    Ok(doubted) => {
                        elsewhere = Some(doubted.elsewhere);
                        Err(doubted.stopped)
                    }
                    Err(tried) => tried,
                };
            }
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
                    self.failed_over(prepared, slot.endpoint(), attempt, &server_error);
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
                    if is_doubted {
                        break; // nothing better: the refusal stands
                    }
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
            meter.tries(&lease_request.model, &picked, Considered::default());
            return Ok(Slot::none(picked, &self.usage).of_model(&lease_request.model));
        }
        let asked = Instant::now();
        lease_request.deadline = asked + self.rules.queue_timeout.saturating_sub(meter.queued());
        let leased = tokio::select! {
            biased;
            leased = self.fleet.lease(lease_request) => leased.map_err(NoSlot::Denied)?,
            () = self.cutting.cancelled() => return Err(NoSlot::Closing),
        };
        Ok(self.leased(leased, prepared, asked, meter))
    }

    fn leased(
        &self,
        leased: Leased,
        prepared: &Prepared,
        asked: Instant,
        meter: &mut Meter,
    ) -> Slot {
        meter.leased(asked, &leased);
        let model = &prepared.lease_request.model;
        meter.tries(model, leased.lease.endpoint(), leased.considered);
        Slot::leased(leased.lease, &prepared.request, &self.usage)
    }

    /// Models of Ollama's cloud are on no server, and asking for one again does not change that.
    fn is_cloud(&self, model: &ModelName) -> bool {
        model.is_cloud() && self.fleet.view().has_ollama() && self.account().is_none()
    }

    /// A model that no server has is looked for where it may be by now.
    async fn look_again(&self, prepared: &Prepared) -> Result<(), Error> {
        let lease_request = &prepared.lease_request;
        let model = &lease_request.model;
        if model.is_cloud() && self.fleet.view().model(model).is_none() {
            return match self.account() {
                Some(endpoint) => {
                    self.find_in_cloud(&endpoint, &prepared.request, model)
                        .await
                }
                None => Ok(()),
            };
        }
        let is_served = |view: &FleetView| lease_request.is_served_by(view);
        self.fleet.relist(is_served).await;
        Ok(())
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
