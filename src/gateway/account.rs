//! What needs an account at ollama.com: asked of the one server that has one, if there is one.
//!
//! No slot is taken and nothing is counted: these calls use no model of the herd. The answer is small and read
//! whole, so that it is the server's or an error, and never half of one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::fleet::Endpoint;
use crate::upstream::{Failure, strip_response};

/// How long the server may take: it asks ollama.com, which may fetch a page.
const LIMIT: Duration = Duration::from_secs(60);
/// How long an answer may be, in bytes.
const LONGEST: usize = 16 << 20;

impl Gateway {
    /// The server that has an account, whether or not it is up.
    #[must_use]
    pub fn account(&self) -> Option<Arc<Endpoint>> {
        let view = self.fleet.view();
        let mut servers = view.servers.iter();
        let found = servers.find(|server| server.endpoint.settings().cloud);
        found.map(|server| Arc::clone(&server.endpoint))
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
        body: &Bytes,
    ) -> Result<Response<Bytes>, Error> {
        let _open = self.open.token();
        let remote = endpoint.remote(&endpoint.settings());
        let asked = async {
            let answer = self.client.send_to(&remote, method, path, headers, body);
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
        answered.map_err(|failure| Error::Exhausted(Box::new(ServerError::Nothing(failure))))
    }
}
