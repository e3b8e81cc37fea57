//! HTTP as clients and operators speak it. Nothing is ever sent twice.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

/// What came back before it ended, however it ended.
pub struct Answer {
    pub status: u16,
    /// The server that gave it.
    pub endpoint: String,
    pub bytes: BytesMut,
}

impl Http {
    pub fn new() -> Self {
        let mut client = Client::builder(TokioExecutor::new());
        client.retry_canceled_requests(false);
        Self(client.build(HttpConnector::new()))
    }

    /// What comes back in time; only the first piece, if `leaves`. `None` without a head.
    pub async fn send(&self, request: Request<Full<Bytes>>, leaves: bool) -> Option<Answer> {
        let mut answer = None;
        // Whatever has come by then has come.
        let _ = timeout(PATIENCE, async {
            let response = self.0.request(request).await.ok()?;
            let (begun, mut body) = head(response);
            let answer = answer.insert(begun);
            while let Some(Ok(frame)) = body.frame().await {
                let piece = frame.into_data().unwrap_or_default();
                answer.bytes.extend_from_slice(&piece);
                if leaves && !piece.is_empty() {
                    break;
                }
            }
            Some(())
        })
        .await;
        answer
    }

    pub async fn get(&self, url: &str) -> Option<Bytes> {
        let request = Request::get(url).body(Full::default()).unwrap();
        let answer = self.send(request, false).await?;
        (answer.status == 200).then(|| answer.bytes.freeze())
    }

    pub async fn post(&self, url: &str, body: &Value) -> Option<Value> {
        let body = Full::from(body.to_string());
        let request = Request::post(url).header("content-type", "application/json");
        let answer = self.send(request.body(body).unwrap(), false).await?;
        let well = (200..300).contains(&answer.status);
        serde_json::from_slice(&answer.bytes).ok().filter(|_| well)
    }
}

fn head(response: Response<Incoming>) -> (Answer, Incoming) {
    let (head, body) = response.into_parts();
    let endpoint = head.headers.get("x-herdsman-endpoint");
    let endpoint = endpoint.and_then(|name| name.to_str().ok());
    let answer = Answer {
        status: head.status.as_u16(),
        endpoint: endpoint.unwrap_or_default().to_owned(),
        bytes: BytesMut::new(),
    };
    (answer, body)
}
