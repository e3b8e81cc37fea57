//! Sending requests, over idle connections or new ones.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderMap};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::RootCertStore;
use tokio::time::{Instant, timeout};
use tower::Service;

use super::coding::Decoder;
use super::connection::{HttpConnection, Stream};
use super::headers::forwarded;
use super::pool::Pool;
use super::{AnswerBody, Connections, Failure, Remote, Target, Upload};
use crate::protocol::{Api, Instance, PASSED, routers};

/// Sends requests to servers; cheap to clone, connections are shared.
#[derive(Clone)]
pub struct Client {
    connector: HttpsConnector<HttpConnector>,
    /// For TCP and TLS together.
    connect_timeout: Duration,
    pool: Arc<Pool>,
    instance: Instance,
}

/// A small answer, whole.
#[derive(Debug)]
pub struct Fetched {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
    /// The routers it has passed, if any, as one list.
    pub routers: Option<String>,
}

/// A kept connection that the server has closed fails at once.
const STALE: Duration = Duration::from_millis(500);

impl Client {
    /// A client that gives up connecting after `connect_timeout`, and tells servers that a request has
    /// passed `instance`.
    /// On a machine that knows no certificate authority, as in a bare container, only servers with plain HTTP can be
    /// reached.
    #[must_use]
    pub fn new(connect_timeout: Duration, instance: Instance) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(connect_timeout));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            tracing::warn!("no certificate authority found: no server can be reached over https");
        }
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Self {
            connector,
            connect_timeout,
            pool: Arc::default(),
            instance,
        }
    }

    /// This router, as servers are told of it.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Connections to one more server, each used again for up to `limit` after its last answer.
    #[must_use]
    pub fn connections(&self, limit: Duration) -> Arc<Connections> {
        Arc::new(Connections::new(&self.pool, limit))
    }

    /// Sends one inference request and waits for the head of its answer. Of the client's `headers` go on
    /// those that are not for the router alone.
    ///
    /// # Errors
    /// [`Failure`] when there is no head. A head with an error status is an answer, not a failure.
    pub async fn infer(
        &self,
        to: &Remote,
        api: Api,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<AnswerBody>, Failure> {
        let uri = to.target.inference_uri(api);
        self.send(to, &Method::POST, &uri, headers, body).await
    }

    /// Sends a request to any path and waits for the head of its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no head.
    pub async fn send_to(
        &self,
        to: &Remote,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<AnswerBody>, Failure> {
        let uri = uri(to, path)?;
        self.send(to, method, &uri, headers, body).await
    }

    /// Sends a body that is still coming, over a connection of its own, and reads the small answer whole. The
    /// server may answer before it has read all of it.
    ///
    /// # Errors
    /// [`Failure`], also when the answer is larger than `size_limit`.
    pub async fn upload(
        &self,
        to: &Remote,
        path: &str,
        headers: &HeaderMap,
        body: Upload,
        size_limit: usize,
    ) -> Result<Fetched, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri(to, path)?;
        *request.headers_mut() = self.head(&to.target, headers);
        let stream = self.stream_to(&to.target).await?;
        let mut connection = HttpConnection::<Upload>::over(stream).await?;
        let (head, body) = connection.exchange(request).await?.into_parts();
        if self.instance.is_in(&head.headers) {
            return Err(Failure::Loop);
        }
        let mut whole = pin!(Limited::new(body, size_limit).collect());
        let whole = poll_fn(|cx| {
            connection.drive(cx);
            whole.as_mut().poll(cx)
        });
        let body = whole
            .await
            .map_err(|error| Failure::Garbled(error.to_string()))?;
        Ok(Fetched {
            status: head.status,
            body: body.to_bytes(),
            routers: routers(&head.headers),
        })
    }

    /// Sends a small request about the server itself, and reads the answer whole.
    ///
    /// # Errors
    /// [`Failure`], also when the answer takes longer than `time_limit` or is larger than `size_limit`.
    pub async fn fetch(
        &self,
        to: &Remote,
        method: Method,
        path: &str,
        time_limit: Duration,
        size_limit: usize,
    ) -> Result<Fetched, Failure> {
        let fetched = async {
            let uri = uri(to, path)?;
            let answer = self
                .send(to, &method, &uri, &HeaderMap::new(), &Bytes::new())
                .await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, size_limit)
                .collect()
                .await
                .map_err(|error| Failure::Garbled(error.to_string()))?;
            Ok(Fetched {
                status: head.status,
                body: body.to_bytes(),
                routers: routers(&head.headers),
            })
        };
        timeout(time_limit, fetched)
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
            *request.headers_mut() = self.head(target, headers);
            request
        };
        let mut kept = to.connections.take();
        loop {
            let was_kept = kept.is_some();
            let connection = match kept.take() {
                Some(kept) => kept,
                // Boxed, because most requests do not connect, and its size would be part of each.
                None => Box::pin(self.connect(target)).await?,
            };
            let sent = Instant::now();
            match exchange(to, connection, request()).await {
                // Later than this it was not the connection: the server has worked, and failed.
                Err(Failure::Closed(_)) if was_kept && sent.elapsed() < STALE => {
                    to.connections.note_closed();
                }
                Ok(answer) if self.instance.is_in(answer.headers()) => return Err(Failure::Loop),
                answered => return answered,
            }
        }
    }

    /// The headers of a request that came with these.
    fn head(&self, target: &Target, headers: &HeaderMap) -> HeaderMap {
        let mut head = forwarded(headers);
        head.insert(&PASSED, self.instance.onto(headers));
        head.insert(HOST, target.host());
        if let Some(key) = target.authorization() {
            head.insert(AUTHORIZATION, key);
        }
        head
    }

    async fn connect(&self, target: &Target) -> Result<HttpConnection, Failure> {
        HttpConnection::over(self.stream_to(target).await?).await
    }

    async fn stream_to(&self, target: &Target) -> Result<Stream, Failure> {
        let mut connector = self.connector.clone();
        let stream = async {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(target.base().clone()).await
        };
        timeout(self.connect_timeout, stream)
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(|error| Failure::from_connector(&*error))
    }
}

fn uri(to: &Remote, path: &str) -> Result<Uri, Failure> {
    let uri = to.target.uri(path);
    uri.map_err(|error| Failure::Garbled(error.to_string()))
}

async fn exchange(
    to: &Remote,
    mut connection: HttpConnection,
    request: Request<Full<Bytes>>,
) -> Result<Response<AnswerBody>, Failure> {
    let answer = connection.exchange(request).await?;
    let (mut head, body) = answer.into_parts();
    let decoder = Decoder::take(&mut head.headers);
    let connections = Arc::clone(&to.connections);
    let body = AnswerBody::new(body, connection, connections, decoder);
    Ok(Response::from_parts(head, body))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
