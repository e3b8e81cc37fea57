//! What a request holds while a server works for it, and what goes on holding it when its client leaves.
//!
//! Nearly always a client that leaves ends everything: the future is dropped, the connection closed,
//! and the server stops. Some servers do not notice and compute an answer that is not streamed to its
//! end ([`Backend::completes_without_client`](crate::backend::Backend::completes_without_client)). Their slot is
//! in use until then, so the exchange goes on as a task of its own, up to the end of the answer, which
//! is counted as the client's: it was computed for it. It does so until the answer would be late, as an answer to a
//! client would be: then the server more likely hangs than computes, and others may have the slot
//! ([`Lease::without_client_until`](crate::fleet::Lease::without_client_until)). That is evidence as well.
//!
//! A try on a server that has to load the model first begins with the load ([`load`](super::load)).
//!
//! It must not know kinds of servers, nor when another one is tried. It fails by value: a try ends as
//! [`Stopped`], and an exchange that goes on without its client is bounded as any other, by the gateway's rules and
//! by the shutdown.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Response;
use http::header::HeaderValue;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::attempt::{Began, Slot, Stopped, Try};
use super::blame::Blame;
use super::load::Load;
use super::meters::Meter;
use super::relay::Completion;
use super::{Answer, Gateway, Relay, Request, respond};
use crate::access::Reservation;
use crate::backend::ClientRequest;

/// One try on one server, with all that depends on how it goes.
pub(super) struct Exchange {
    pub(super) gateway: Arc<Gateway>,
    pub(super) slot: Slot,
    pub(super) meter: Meter,
    /// What the request may use.
    pub(super) reservation: Option<Reservation>,
    pub(super) request: Arc<ClientRequest>,
    pub(super) prompt_bytes: usize,
}

impl Exchange {
    /// The try, up to the first byte of the answer.
    pub(super) async fn attempt(self) -> (Try, Self) {
        if self.slot.awaits_load() {
            return Box::pin(self.attempt_loaded()).await;
        }
        self.attempt_now().await
    }

    /// The try, once the model is loaded.
    async fn attempt_loaded(self) -> (Try, Self) {
        self.meter.note(Request::loads);
        let (loaded, slot) = Load::new(&self.gateway, self.slot, &self.request).await;
        self.meter.note(Request::loaded);
        let exchange = Self { slot, ..self };
        match loaded {
            Ok(()) => exchange.attempt_now().await,
            Err(stopped) => (Err(stopped), exchange),
        }
    }

    async fn attempt_now(self) -> (Try, Self) {
        if self.slot.completes_without_client(self.request.streamed) {
            return Detachable::new(self).await;
        }
        let tried = self.gateway.attempt(&self.slot, &self.request).await;
        (tried, self)
    }

    /// The try, which goes on for a while when `client` says that it has left. Nothing when it has not come to an
    /// end by then.
    async fn outliving(self, client: oneshot::Receiver<Infallible>) -> Option<(Try, Self)> {
        let tried = {
            let mut attempt = pin!(self.gateway.attempt(&self.slot, &self.request));
            tokio::select! {
                biased;
                tried = &mut attempt => tried,
                _ = client => {
                    let deadline = self.slot.without_client_until()?;
                    tokio::select! {
                        biased;
                        tried = timeout_at(deadline, attempt) => tried.ok()?,
                        () = self.slot.blamed() => return None,
                        () = self.meter.cancelled() => return None,
                    }
                }
            }
        };
        Some((tried, self))
    }

    /// There was no answer: meter and reservation go on with the request.
    pub(super) fn give_back(
        self,
        meter: &mut Meter,
        reservation: &mut Option<Reservation>,
    ) -> Slot {
        *meter = self.meter;
        *reservation = self.reservation;
        self.slot
    }

    /// The answer as the client gets it.
    pub(super) fn answer(self, began: Began, id: &HeaderValue, attempt: u32) -> Response<Answer> {
        let detaches = self.slot.completes_without_client(self.request.streamed);
        let route = respond::Route {
            endpoint: self.slot.endpoint(),
            attempt,
            meter: &self.meter,
            instance: self.gateway.client.instance(),
            alias_of: self.request.aliased.then_some(&self.request.model),
        };
        let head = respond::head(began.head, began.reading.format, id, &route);
        let api = self.request.api;
        let gateway = Arc::clone(&self.gateway);
        let completion = Completion::new(
            &gateway,
            self.slot,
            self.meter,
            self.reservation,
            self.prompt_bytes,
        );
        let relay = Relay::new(completion, api, head.status, began.reading);
        Response::from_parts(head, Answer::new(relay, detaches.then_some(gateway)))
    }

    /// The client left before the first byte.
    fn finish_detached(self, tried: Try) {
        match tried {
            Ok(began) => {
                // Dropped, it is read to its end.
                drop(self.answer(began, &HeaderValue::from_static(""), 1));
            }
            // With no client there is no other server to compare with.
            Err(Stopped::Failover {
                fault,
                server_error,
            }) => {
                Blame::of(self.request.api).failed(self.slot, fault, &server_error);
            }
            Err(Stopped::Over(error)) => self.slot.end(error.outcome()),
        }
    }
}

/// A try that goes on when its client has left.
struct Detachable {
    gateway: Arc<Gateway>,
    /// `None` once it is over.
    attempt: Option<BoxFuture<'static, Option<(Try, Exchange)>>>,
    /// Dropped when the client leaves.
    client: Option<oneshot::Sender<Infallible>>,
}

impl Detachable {
    fn new(exchange: Exchange) -> Self {
        let (client, leaves) = oneshot::channel();
        Self {
            gateway: Arc::clone(&exchange.gateway),
            attempt: Some(exchange.outliving(leaves).boxed()),
            client: Some(client),
        }
    }
}

impl Future for Detachable {
    type Output = (Try, Exchange);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(attempt) = &mut self.attempt else {
            return Poll::Pending; // polled after its end
        };
        let ended = ready!(attempt.as_mut().poll(cx));
        self.attempt = None;
        // Given up without its client alone.
        ended.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Detachable {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            self.client = None;
            self.gateway.continue_detached(async move {
                if let Some((tried, exchange)) = attempt.await {
                    exchange.finish_detached(tried);
                }
            });
        }
    }
}
