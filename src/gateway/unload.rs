//! Unloading a model: one request of a client's, sent to every server that has the model in memory.
//!
//! The client gets the answer of one of them, as of a single Ollama; the others are asked here, before
//! it. No slot is taken and nothing queues: a server ends what it computes with the model first. If one
//! of them fails, so does the request, since the model may still be loaded there. Servers that are not known to
//! have it in memory may have got it there since they were asked: they are told too, and not waited for long.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::backend::{ClientRequest, Outgoing};
use crate::domain::ModelName;
use crate::fleet::{Endpoint, LeaseRequest};
use crate::upstream::Failure;

/// How long a server may take to say that it unloads.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// How long one may take that is not known to have it loaded.
const SHORT_LIMIT: Duration = Duration::from_secs(2);
/// How long an answer may be, in bytes.
const LONGEST: usize = 64 << 10;

impl Gateway {
    /// Unloads on all servers but one, to which the request is then limited.
    pub(super) async fn unload_elsewhere(
        &self,
        request: &ClientRequest,
        lease_request: &mut LeaseRequest,
    ) -> Result<(), Error> {
        let [loaded, listed] = self.fleet.holders(lease_request);
        let model = lease_request.model.clone();
        let model = &model;
        let perhaps = async {
            let unloads = listed
                .iter()
                .map(|endpoint| self.unload_on(endpoint, request, model));
            let _ = timeout(SHORT_LIMIT, join_all(unloads)).await;
        };
        let Some((first, others)) = loaded.split_first() else {
            perhaps.await;
            return Ok(()); // any server says so
        };
        lease_request.only = vec![first.name().as_ref().into()];
        let all = async {
            let unloads = others
                .iter()
                .map(|endpoint| self.unload_on(endpoint, request, model));
            let (unloaded, ()) = tokio::join!(join_all(unloads), perhaps);
            let unloaded = unloaded.into_iter().collect::<Result<(), _>>();
            if unloaded.is_err() {
                // What the client is told is that it failed; what can be done is done all the same.
                let _ = self.unload_on(first, request, model).await;
            }
            unloaded.map_err(|error| Error::Exhausted(Box::new(error)))
        };
        tokio::select! {
            biased;
            unloaded = all => unloaded,
            () = self.cutting.cancelled() => Err(Error::Closing),
        }
    }

    async fn unload_on(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &ClientRequest,
        model: &ModelName,
    ) -> Result<(), ServerError> {
        let unloaded = timeout(LIMIT, self.ask_to_unload(endpoint, request)).await;
        unloaded.unwrap_or(Err(ServerError::Nothing(Failure::Silent)))?;
        endpoint.unloaded(model);
        Ok(())
    }

    async fn ask_to_unload(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &ClientRequest,
    ) -> Result<(), ServerError> {
        let settings = endpoint.settings();
        let outgoing = settings.backend.request(request, &request.model, false);
        let Outgoing {
            api, headers, body, ..
        } = &outgoing;
        let remote = endpoint.remote(&settings);
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
