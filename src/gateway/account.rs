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
use tokio::time::timeout;

use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::backend::ClientRequest;
use crate::domain::ModelName;
use crate::fleet::Endpoint;
use crate::protocol::{Api, CONTENT_TYPE_JSON};
use crate::upstream::{Failure, strip_response};

/// How long the server may take: it asks ollama.com, which may fetch a page.
const LIMIT: Duration = Duration::from_secs(60);
/// How long an answer may be, in bytes.
const LONGEST: usize = 16 << 20;
/// How long it may take to say whether a model is there.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

impl Gateway {
    /// The server that has an account, whether or not it is up.
    #[must_use]
    pub fn account(&self) -> Option<Arc<Endpoint>> {
        let view = self.fleet.view();
        let mut servers = view.servers.iter();
        let found = servers.find(|server| server.endpoint.settings().cloud);
        found.map(|server| Arc::clone(&server.endpoint))
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
        let json = HeaderValue::from_static(CONTENT_TYPE_JSON);
        headers.insert(CONTENT_TYPE, json);
        let path = Api::OllamaShow.path();
        let asked = self.ask_account(endpoint, &Method::POST, path, &headers, body.into());
        let answer = match timeout(SHOWN_WITHIN, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(exhausted(Failure::Silent)),
        };
        if answer.status().is_success() {
            self.fleet.found(model, &request.model).await;
            return Ok(());
        }
        let said = ServerError::whole(answer).in_dialect(request.api.dialect());
        Err(Error::Exhausted(Box::new(said)))
    }

    /// The answer of this server.
    ///
    /// # Errors
    /// [`Error::Exhausted`], when it has none.
    pub async fn ask_account(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, Error> {
        if !endpoint.is_up() {
            return Err(exhausted(Failure::Unusable(
                "the server is down".to_owned(),
            )));
        }
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
        answered.map_err(exhausted)
    }
}

fn exhausted(failure: Failure) -> Error {
    Error::Exhausted(Box::new(ServerError::Nothing(failure)))
}
