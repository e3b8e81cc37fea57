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
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no answer had its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// Nobody there, or gone before it said anything.
    Unreached,
    /// Nothing was said in time.
    Silent,
    /// It began with this status.
    Begun(u16),
}

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

    /// What comes back in time; only the first piece, if `leaves`.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        leaves: bool,
    ) -> Result<Answer, Missed> {
        let mut answer = Err(Missed::Silent);
        let asked = timeout(REQUEST_TIMEOUT, async {
            let (begun, mut body) = head(self.0.request(request).await.ok()?);
            answer = Ok(begun);
            while let (Ok(answer), Some(Ok(frame))) = (&mut answer, body.frame().await) {
                let piece = frame.into_data().unwrap_or_default();
                answer.bytes.extend_from_slice(&piece);
                if leaves && !piece.is_empty() {
                    break;
                }
            }
            Some(())
        });
        // Whatever has come by then has come.
        match asked.await {
            Ok(None) => Err(Missed::Unreached),
            _ => answer,
        }
    }

    pub async fn get(&self, url: &str) -> Option<Bytes> {
        let request = Request::get(url).body(Full::default()).unwrap();
        let answer = self.send(request, false).await.ok()?;
        (answer.status == 200).then(|| answer.bytes.freeze())
    }

    pub async fn post(&self, url: &str, body: &Value) -> Option<Value> {
        let body = Full::from(body.to_string());
        let request = Request::post(url).header("content-type", "application/json");
        let answer = self.send(request.body(body).unwrap(), false).await.ok()?;
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
