//! Sending requests, over connections that are there or new ones.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderMap};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use tower::Service;

use super::headers::forwarded;
use super::pool::Pool;
use super::wire::Wire;
use super::{AnswerBody, Connections, Failure, Remote, Target};
use crate::protocol::Api;

/// Calls servers; cheap to clone, connections are shared.
#[derive(Clone)]
pub struct Client {
    connector: HttpsConnector<HttpConnector>,
    /// For TCP and TLS together.
    patience: Duration,
    pool: Arc<Pool>,
}

impl Client {
    /// A client that gives up connecting after `connect_timeout`.
    ///
    /// # Errors
    /// When the machine's certificate store cannot be read.
    pub fn new(connect_timeout: Duration) -> std::io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(connect_timeout));
        let tls = rustls::ClientConfig::builder()
            .with_native_roots()?
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            connector,
            patience: connect_timeout,
            pool: Arc::default(),
        })
    }

    /// Connections to one more server, each used again for up to `limit` after its last answer.
    #[must_use]
    pub fn connections(&self, limit: Duration) -> Arc<Connections> {
        Arc::new(Connections::new(&self.pool, limit))
    }

    /// Sends one inference call and waits for the head of its answer. Of the client's `headers` go on
    /// those that are not for the router alone.
    ///
    /// # Errors
    /// [`Failure`] when there is no head. A head with an error status is an answer, not a failure.
    pub async fn call(
        &self,
        to: &Remote,
        api: Api,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<AnswerBody>, Failure> {
        let uri = to.target.call(api);
        self.send(to, &Method::POST, &uri, headers, body).await
    }

    /// Asks a server about itself: a small request whose answer is read whole.
    ///
    /// # Errors
    /// [`Failure`], also when the answer takes longer than `patience` or is larger than `limit`.
    pub async fn ask(
        &self,
        to: &Remote,
        method: Method,
        path: &str,
        patience: Duration,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let asking = async {
            let uri = to
                .target
                .uri(path)
                .map_err(|error| Failure::Garbled(error.to_string()))?;
            let answer = self
                .send(to, &method, &uri, &HeaderMap::new(), &Bytes::new())
                .await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, limit)
                .collect()
                .await
                .map_err(|error| Failure::Garbled(error.to_string()))?;
            Ok((head.status, body.to_bytes()))
        };
        timeout(patience, asking)
            .await
            .unwrap_or(Err(Failure::Silent))
    }

    /// A kept connection may have been closed while the request was on its way. The server has then
    /// answered nothing, and a new connection tells whether it is still there.
    async fn send(
        &self,
        to: &Remote,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<AnswerBody>, Failure> {
        let target = &*to.target;
        let request = || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            let mut headers = forwarded(headers);
            headers.insert(HOST, target.host());
            if let Some(key) = target.authorization() {
                headers.insert(AUTHORIZATION, key);
            }
            *request.headers_mut() = headers;
            request
        };
        let mut kept = to.connections.take();
        loop {
            let was_kept = kept.is_some();
            let wire = match kept.take() {
                Some(kept) => kept,
                // Boxed, because most requests do not connect and carry its room around.
                None => Box::pin(self.connect(target)).await?,
            };
            match exchange(to, wire, request()).await {
                Err(Failure::Closed(_)) if was_kept => {}
                answered => return answered,
            }
        }
    }

    async fn connect(&self, target: &Target) -> Result<Wire, Failure> {
        let mut connector = self.connector.clone();
        let stream = async {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(target.base().clone()).await
        };
        let stream = timeout(self.patience, stream)
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(|error| Failure::from_connector(&*error))?;
        Wire::over(stream).await
    }
}

async fn exchange(
    to: &Remote,
    mut wire: Wire,
    request: Request<Full<Bytes>>,
) -> Result<Response<AnswerBody>, Failure> {
    let answer = wire.exchange(request).await?;
    let connections = Arc::clone(&to.connections);
    Ok(answer.map(|body| AnswerBody::new(body, wire, connections)))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
