//! Loading a model before the request that needs it is sent.
//!
//! Ollama gives a load up when the request that caused it leaves, and the next one begins at zero: impatient
//! clients could keep a model from ever being loaded. So no client's request causes a load. Where the
//! model is not loaded, or is being loaded, the router first asks for the load alone, with the
//! options of the request; the request follows. If its client leaves meanwhile, the load goes on as a task of its own,
//! which holds the slot until the model is loaded: up to the deadline the request would have had, and not into a
//! shutdown.
//!
//! It must not know which server is chosen, nor what follows a failure. A load that fails is a failed try
//! of its request, with the server's own answer. A load that the server refuses for a reason of the request's is
//! none: the request itself is sent, and is told.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::attempt::{Slot, Stopped};
use super::blame::Blame;
use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::backend::{ClientRequest, Outgoing, Verdict};
use crate::faults::Fault;
use crate::fleet::Outcome;
use crate::protocol::Api;
use crate::upstream::Failure;

/// As much is read of the answer to a load.
const LONGEST: usize = 64 << 10;

/// How a load went, and the slot it was for.
type Ended = (Result<(), Stopped>, Slot);

/// A load for one request, which goes on when that is dropped.
pub(super) struct Load {
    gateway: Arc<Gateway>,
    api: Api,
    /// `None` once it is over.
    load: Option<BoxFuture<'static, Ended>>,
    /// Dropped when the client leaves.
    client: Option<oneshot::Sender<Infallible>>,
}

impl Load {
    pub(super) fn new(gateway: &Arc<Gateway>, slot: Slot, request: &Arc<ClientRequest>) -> Self {
        let (client, leaves) = oneshot::channel();
        let load = outliving(Arc::clone(gateway), slot, Arc::clone(request), leaves);
        Self {
            gateway: Arc::clone(gateway),
            api: request.api,
            load: Some(load.boxed()),
            client: Some(client),
        }
    }
}

/// The load, which goes on when `client` says that it has left.
async fn outliving(
    gateway: Arc<Gateway>,
    slot: Slot,
    request: Arc<ClientRequest>,
    client: oneshot::Receiver<Infallible>,
) -> Ended {
    let loaded = {
        let mut load = pin!(gateway.load(&slot, &request));
        tokio::select! {
            biased;
            loaded = &mut load => loaded,
            _ = client => {
                slot.left_loading();
                tokio::select! {
                    biased;
                    loaded = load => loaded,
                    () = gateway.closing.cancelled() => Err(Stopped::Over(Error::Closing)),
                }
            }
        }
    };
    (loaded, slot)
}

/// Nobody waits for it any more.
fn finish(api: Api, (loaded, slot): Ended) {
    match loaded {
        Ok(()) => slot.end(Outcome::Done),
        // With no client there is no other server to compare with.
        Err(Stopped::Failover {
            fault,
            server_error,
        }) => {
            Blame::of(api).failed(slot, fault, &server_error);
        }
        Err(Stopped::Over(error)) => slot.end(error.outcome()),
    }
}

impl Future for Load {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(load) = &mut self.load else {
            return Poll::Pending; // polled after its end
        };
        let ended = ready!(load.as_mut().poll(cx));
        self.load = None;
        Poll::Ready(ended)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(load) = self.load.take() {
            self.client = None;
            let api = self.api;
            self.gateway
                .continue_detached(async move { finish(api, load.await) });
        }
    }
}

impl Gateway {
    async fn load(&self, slot: &Slot, request: &ClientRequest) -> Result<(), Stopped> {
        let Some(load) = slot.settings().backend.load_for(request) else {
            return Ok(());
        };
        let deadline = slot.since() + self.limit(slot, request);
        let ejected = slot.ejected();
        let answered = tokio::select! {
            biased;
            answered = timeout_at(deadline, self.send_load(slot, &load)) => {
                answered.unwrap_or_else(|_| Err(Stopped::by(Failure::Silent)))?
            }
            () = ejected.cancelled() => return Err(Stopped::by(Failure::Ejected)),
            () = self.cutting.cancelled() => return Err(Stopped::Over(Error::Closing)),
        };
        if answered.is_ok() {
            self.loaded(slot, LoadReason::Request);
        }
        Ok(())
    }

    /// The model of the slot is loaded.
    pub(super) fn loaded(&self, slot: &Slot, reason: LoadReason) {
        if let Some((pool, since)) = slot.loaded() {
            let loads = self.meters.loads();
            loads.loaded(slot.endpoint(), pool, reason, since.elapsed());
        }
    }

    /// Sends a request for a load alone. Of what is no failure of the server's it is said whether it was done.
    pub(super) async fn send_load(
        &self,
        slot: &Slot,
        load: &Outgoing<'_>,
    ) -> Result<Result<(), ServerError>, Stopped> {
        let settings = slot.settings();
        let remote = slot.endpoint().remote(settings);
        let answer = self
            .client
            .infer(&remote, load.api, &load.headers, &load.body)
            .await
            .map_err(Stopped::by)?;
        if answer.status().is_success() {
            // To its end, so that the connection can be used again. The model is loaded in any case.
            let _ = Limited::new(answer.into_body(), LONGEST).collect().await;
            return Ok(Ok(()));
        }
        let verdict = settings.backend.verdict(answer.status());
        let error = ServerError::read(answer).await;
        let is_failed =
            verdict == Verdict::Failover && error.fault(&settings.backend) != Fault::Unsupported;
        match is_failed {
            true => Err(slot.failed(error, load.api)),
            false => Ok(Err(error)),
        }
    }
}

/// What a load is for, as the metrics say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadReason {
    /// A request that needs the model.
    Request,
    /// An operator wants it now.
    Asked,
    /// It is kept loaded.
    Kept,
}

impl LoadReason {
    /// The value of the metric's label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Asked => "asked",
            Self::Kept => "kept",
        }
    }
}
