//! HTTP, as a client that keeps its connections.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

use super::ADMIN_KEY;
use crate::support::TEST_TIMEOUT;

/// Clones share the connections.
#[derive(Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build(HttpConnector::new()))
    }

    /// The head of an answer. A connection that was closed before anything was sent over it is no reason to fail.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.0.request(request).await
    }

    /// Which run of a router answers there, over a connection of its own.
    pub async fn instance(&self, url: &str) -> Option<HeaderValue> {
        let request = Request::get(format!("{url}/api/version")).header("connection", "close");
        let answer = self.send(request.body(Full::default()).unwrap()).await;
        answer.ok()?.headers().get("x-herdsman-instance").cloned()
    }

    /// The JSON that is there, if the answer is a good one and comes in time.
    pub async fn get(&self, url: &str) -> Option<Value> {
        serde_json::from_str(&self.text(url).await?).ok()
    }

    /// The status and the JSON of an answer.
    pub async fn post(&self, url: &str, key: &str, body: &Value) -> (u16, Value) {
        let request = Request::post(url)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {key}"));
        let request = request.body(Full::from(body.to_string())).unwrap();
        let answer = timeout(TEST_TIMEOUT, async {
            let (head, body) = self.send(request).await.unwrap().into_parts();
            (
                head.status.as_u16(),
                body.collect().await.unwrap().to_bytes(),
            )
        });
        let (status, bytes) = answer.await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub async fn text(&self, url: &str) -> Option<String> {
        let request = Request::get(url).header("authorization", format!("Bearer {ADMIN_KEY}"));
        let request = request.body(Full::default()).unwrap();
        let answer = async {
            let answer = self.send(request).await.ok()?;
            let good = answer.status().is_success();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            good.then(|| String::from_utf8_lossy(&body).into_owned())
        };
        timeout(TEST_TIMEOUT, answer).await.ok()?
    }
}
