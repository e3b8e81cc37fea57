//! Unloading a model: one request of a client's, sent to every server that has the model in memory.
//!
//! The client gets the answer of one of them, as of a single Ollama; the others are asked here, before
//! it. No slot is taken and nothing queues: a server ends what it computes with the model first. If one
//! of them fails, so does the request, since the model may still be loaded there. Servers that are not known to
//! have it in memory may have got it there since they were asked: they are told too, are not waited for once
//! another has answered, and fail nothing. One that has let such a request hang a moment ago is not waited
//! for a second time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Limited};
use tokio::time::{sleep, timeout};

use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::backend::{ClientRequest, Outgoing};
use crate::domain::ModelName;
use crate::faults::Fault;
use crate::fleet::{Endpoint, LeaseRequest};
use crate::upstream::Failure;

/// How long a server may take for a request that takes no slot: to say that it unloads, or what a model is.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// How long one may take that is not known to have it loaded while another has answered, and one that has let
/// such a request hang a moment ago.
const SHORT_LIMIT: Duration = Duration::from_secs(2);
/// How long an answer may be, in bytes.
const LONGEST: usize = 64 << 10;

/// How long this server may take.
pub(super) fn limit(endpoint: &Endpoint) -> Duration {
    match endpoint.fails_without_slot() {
        true => SHORT_LIMIT,
        false => LIMIT,
    }
}

impl Gateway {
    /// Unloads on all servers but one, to which the request is then limited.
    pub(super) async fn unload_elsewhere(
        &self,
        request: &ClientRequest,
        lease_request: &mut LeaseRequest,
    ) -> Result<(), Error> {
        let [mut loaded, mut listed] = self.fleet.holders(lease_request);
        let model = lease_request.model.clone();
        // The client's answer is better not of one that fails.
        loaded.sort_by_key(|endpoint| endpoint.fails_without_slot());
        if listed.iter().any(|listed| !listed.fails_without_slot()) || !loaded.is_empty() {
            listed.retain(|endpoint| !endpoint.fails_without_slot());
        }
        let all = async {
            match loaded.split_first() {
                Some((first, others)) => {
                    lease_request.only = vec![first.name().as_ref().into()];
                    self.unload_loaded(first, others, &listed, request, &model)
                        .await
                }
                // Whichever is asked says so, and there is only one.
                None if listed.len() < 2 => Ok(()),
                None => match self.unload_listed(&listed, request, &model).await {
                    Ok(answered) => {
                        lease_request.only = vec![answered.name().as_ref().into()];
                        Ok(())
                    }
                    // What they say of the model is looked at as of any other request.
                    Err(ServerError::Answer(_)) => Ok(()),
                    Err(error) => Err(Error::Exhausted(Box::new(error))),
                },
            }
        };
        tokio::select! {
            biased;
            unloaded = all => unloaded,
            () = self.cutting.cancelled() => Err(Error::Closing),
        }
    }

    /// On servers that have it in memory, all but the `first`, and on those that may.
    async fn unload_loaded(
        &self,
        first: &Arc<Endpoint>,
        others: &[Arc<Endpoint>],
        listed: &[Arc<Endpoint>],
        request: &ClientRequest,
        model: &ModelName,
    ) -> Result<(), Error> {
        let unload = |endpoint: &Arc<Endpoint>| {
            let (endpoint, limit) = (Arc::clone(endpoint), limit(endpoint));
            async move { self.unload_by(&endpoint, request, model, limit).await }
        };
        let perhaps = listed
            .iter()
            .map(|endpoint| self.unload_by(endpoint, request, model, SHORT_LIMIT));
        let (unloaded, _) = tokio::join!(join_all(others.iter().map(unload)), join_all(perhaps));
        let unloaded = unloaded.into_iter().collect::<Result<(), _>>();
        if unloaded.is_err() {
            // What the client is told is that it failed; what can be done is done all the same.
            let _ = unload(first).await;
        }
        unloaded.map_err(|error| Error::Exhausted(Box::new(error)))
    }

    /// On servers none of which is known to have it in memory: one that has answered, as soon as all have, or one
    /// has and a short time is over; what the last of them met, if none has.
    async fn unload_listed(
        &self,
        listed: &[Arc<Endpoint>],
        request: &ClientRequest,
        model: &ModelName,
    ) -> Result<Arc<Endpoint>, ServerError> {
        let unload = |endpoint: Arc<Endpoint>| async move {
            let limit = limit(&endpoint);
            let unloaded = self.unload_by(&endpoint, request, model, limit).await;
            (endpoint, unloaded)
        };
        let mut unloads: FuturesUnordered<_> = listed.iter().cloned().map(unload).collect();
        let mut out = listed.to_vec();
        let mut result = Err(ServerError::Nothing(Failure::Silent));
        let mut is_long = pin!(sleep(SHORT_LIMIT));
        loop {
            tokio::select! {
                biased;
                next = unloads.next() => {
                    let Some((endpoint, unloaded)) = next else {
                        return result;
                    };
                    out.retain(|out| !Arc::ptr_eq(out, &endpoint));
                    result = match unloaded {
                        Err(_) if result.is_ok() => result,
                        unloaded => unloaded.map(|()| endpoint),
                    };
                }
                () = &mut is_long, if result.is_ok() => {
                    for late in &out {
                        late.failed_without_slot(model, Fault::Silent);
                    }
                    return result;
                }
            }
        }
    }

    async fn unload_by(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &ClientRequest,
        model: &ModelName,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let unloaded = timeout(limit, self.ask_to_unload(endpoint, request)).await;
        let unloaded = unloaded.unwrap_or(Err(ServerError::Nothing(Failure::Silent)));
        match &unloaded {
            Ok(()) => {
                endpoint.worked_without_slot();
                endpoint.unloaded(model);
            }
            // The router's own failure, not the server's.
            Err(ServerError::Nothing(failure)) if failure.fault().is_none() => {}
            Err(error) => {
                let fault = error.fault(&endpoint.settings().backend);
                endpoint.failed_without_slot(model, fault);
            }
        }
        unloaded
    }

    async fn ask_to_unload(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &ClientRequest,
    ) -> Result<(), ServerError> {
        let settings = endpoint.settings();
        let outgoing = settings.backend.request(request, &request.model, false);
        self.send_unload(endpoint, &outgoing).await
    }

    pub(super) async fn send_unload(
        &self,
        endpoint: &Endpoint,
        outgoing: &Outgoing<'_>,
    ) -> Result<(), ServerError> {
        let Outgoing {
            api, headers, body, ..
        } = outgoing;
        let remote = endpoint.remote(&endpoint.settings());
        let answer = self.client.infer(&remote, *api, headers, body).await;
        let answer = answer.map_err(ServerError::Nothing)?;
        if !answer.status().is_success() {
            return Err(ServerError::read(answer).await);
        }
        // To its end, so that the connection can be used again.
        let read = Limited::new(answer.into_body(), LONGEST).collect().await;
        read.map(drop)
            .map_err(|error| ServerError::Nothing(Failure::Closed(error.to_string())))
    }
}
