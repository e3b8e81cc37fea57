//! What needs an account at ollama.com: asked of the one server that has one, if there is one.
//!
//! No slot is taken and nothing is counted: these calls use no model of the herd. The answer is small and read
//! whole, so that it is the server's or an error, and never half of one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::backend::ClientRequest;
use crate::domain::ModelName;
use crate::fleet::{Denied, Endpoint, LeaseRequest};
use crate::protocol::{Api, CONTENT_TYPE_JSON, PASSED};
use crate::upstream::{Failure, strip_response};

/// How long the server may take: it asks ollama.com, which may fetch a page.
const LIMIT: Duration = Duration::from_secs(60);
/// How long an answer may be, in bytes.
const LONGEST: usize = 4 << 20;
/// So many answers are asked for or held at once.
pub(super) const MOST_CALLS: usize = 32;
/// How long it may take to say whether a model is there.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

impl Gateway {
    /// The server that has an account, whether or not it is up.
    #[must_use]
    pub fn account(&self) -> Option<Arc<Endpoint>> {
        let view = self.fleet.view();
        let mut endpoints = view.servers.iter().map(|server| &server.endpoint);
        let is_account =
            |endpoint: &&Arc<Endpoint>| endpoint.settings().cloud && !endpoint.is_draining();
        endpoints.find(is_account).map(Arc::clone)
    }

    /// Whether a model that no server lists may be one of Ollama's cloud that the request can have.
    pub(super) fn may_be_in_cloud(&self, model: &ModelName, request: &LeaseRequest) -> bool {
        model.is_cloud()
            && self.fleet.view().model(model).is_none()
            && self
                .account()
                .is_some_and(|endpoint| endpoint.is_up() && request.may_ask(&endpoint))
    }

    /// Has the server with an account say whether Ollama's cloud has a model that no server lists; if so, it is used for it
    /// from now on.
    ///
    /// # Errors
    /// [`Error::Exhausted`]: what it says, or that it says nothing.
    pub(super) async fn find_in_cloud(
        &self,
        endpoint: &Endpoint,
        request: &ClientRequest,
        model: &ModelName,
    ) -> Result<(), Error> {
        let body = json!({"model": request.model}).to_string();
        let mut headers = HeaderMap::new();
        for passed in request.headers.get_all(&PASSED) {
            headers.append(&PASSED, passed.clone());
        }
        let json = HeaderValue::from_static(CONTENT_TYPE_JSON);
        headers.insert(CONTENT_TYPE, json);
        let path = Api::OllamaShow.path();
        let asked = self.ask_account(endpoint, &Method::POST, path, &headers, body.into());
        let answer = match timeout(SHOWN_WITHIN, asked).await {
            Ok(answer) => answer?.0,
            Err(_) => return Err(exhausted(Failure::Silent)),
        };
        if answer.status().is_success() {
            self.fleet.found(model, &request.model).await;
            return Ok(());
        }
        Err(Error::Exhausted(Box::new(ServerError::whole(answer))))
    }

    /// The answer of this server, and the right to hold it: whoever does not read it keeps others from asking.
    ///
    /// # Errors
    /// [`Error::Exhausted`], when it has none; [`Error::Denied`], when too many answers are held.
    pub async fn ask_account(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(Response<Bytes>, OwnedSemaphorePermit), Error> {
        if !endpoint.is_up() || endpoint.is_on_hold() {
            let away = "the server with the account takes no requests now";
            return Err(exhausted(Failure::Unusable(away.to_owned())));
        }
        let full = |_| Error::Denied(Denied::QueueFull, path.to_owned());
        let permit = Arc::clone(&self.account_calls).try_acquire_owned();
        let permit = permit.map_err(full)?;
        let _open = self.open.token();
        let remote = endpoint.remote(&endpoint.settings());
        let asked = async {
            let answer = self.client.send_to(&remote, method, path, headers, &body);
            let (mut head, body) = answer.await?.into_parts();
            strip_response(&mut head.headers);
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| Failure::Closed(error.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answered = tokio::select! {
            biased;
            answered = timeout(LIMIT, asked) => answered.unwrap_or(Err(Failure::Silent)),
            () = self.cutting.cancelled() => return Err(Error::Closing),
        };
        answered.map(|answer| (answer, permit)).map_err(exhausted)
    }
}

fn exhausted(failure: Failure) -> Error {
    Error::Exhausted(Box::new(ServerError::Nothing(failure)))
}
