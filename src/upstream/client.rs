//! The pooled HTTP client.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::{Failure, Target};
use crate::protocol::Api;

/// Idle connections are dropped before a server's own keep-alive limit can race a new request.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Calls servers; cheap to clone, connections are shared.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
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
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Ok(Self { inner })
    }

    /// Sends one inference call and waits for the head of its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no head. A head with an error status is an answer, not a failure.
    pub async fn call(
        &self,
        target: &Target,
        api: Api,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.call(api);
        *request.headers_mut() = headers;
        self.send(target, request).await
    }

    /// Asks a server about itself: a small request whose answer is read whole.
    ///
    /// # Errors
    /// [`Failure`], also when the answer takes longer than `patience` or is larger than `limit`.
    pub async fn ask(
        &self,
        target: &Target,
        method: Method,
        path: &str,
        patience: Duration,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let asking = async {
            let mut request = Request::new(Full::default());
            *request.method_mut() = method;
            *request.uri_mut() = target
                .uri(path)
                .map_err(|error| Failure::Garbled(error.to_string()))?;
            let (head, body) = self.send(target, request).await?.into_parts();
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

    async fn send(
        &self,
        target: &Target,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        if let Some(key) = target.authorization() {
            request.headers_mut().insert(AUTHORIZATION, key);
        }
        self.inner
            .request(request)
            .await
            .map_err(|error| Failure::from_client(&error))
    }
}
