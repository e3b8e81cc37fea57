//! A recorded call, and making it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Answer, TestRouter};

/// A real Ollama's answers, one call a line, in the order in which they were made.
const RECORDED: &str = include_str!("../../data/ollama_recorded.jsonl");

/// The digest of the model file that was used.
const REAL_DIGEST: &str = "f88532d3ecf39b49aa6f643639072185d1f59320614f7a21b517ca0ec134b059";
/// A simulated server takes any bytes for a model: so many `x`, and their digest.
const MODEL_BYTES: usize = 510_688;
const DIGEST: &str = "0ee5603d8920d228c8d90b14de5b133a97daf5069c64047e617db696e0929a27";

#[derive(Debug, Deserialize)]
pub struct Call {
    pub n: u32,
    pub method: String,
    pub path: String,
    pub request: Option<Value>,
    pub request_raw: Option<String>,
    #[serde(default)]
    pub request_headers: std::collections::BTreeMap<String, String>,
    pub status: u16,
    pub content_type: Option<String>,
    pub location: Option<String>,
    pub answer: String,
}

/// All of them.
pub fn all() -> Vec<Call> {
    let calls = RECORDED.lines().map(serde_json::from_str);
    calls.collect::<Result<_, _>>().unwrap()
}

impl Call {
    /// The call as it is shown to people.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.n, self.method, self.path)
    }

    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// What is answered under this address.
    pub async fn make(&self, router: &TestRouter, url: &str) -> Answer {
        let method: Method = self.method.parse().unwrap();
        let path = self.path.replace(REAL_DIGEST, DIGEST);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{url}{path}"));
        let body = self.body();
        if body.is_some() && !self.request_headers.contains_key("Content-Type") {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.request_headers {
            request = request.header(name, value);
        }
        let body = Full::new(body.unwrap_or_default());
        router
            .request(request.body(body).unwrap())
            .await
            .whole()
            .await
    }

    fn body(&self) -> Option<Bytes> {
        if let Some(json) = &self.request {
            return Some(json.to_string().replace(REAL_DIGEST, DIGEST).into());
        }
        let raw = self.request_raw.as_ref()?;
        Some(if raw.ends_with(" bytes") {
            vec![b'x'; MODEL_BYTES].into()
        } else if let Some((before, after)) = raw.split_once('\u{fffd}') {
            // Written down with what Go made of this byte.
            [before.as_bytes(), b"\xe9", after.as_bytes()]
                .concat()
                .into()
        } else {
            raw.replace(REAL_DIGEST, DIGEST).into()
        })
    }
}

/// The recorded call's answer as if it had just been received.
impl From<&Call> for Answer {
    fn from(call: &Call) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(kind) = &call.content_type {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        if let Some(location) = &call.location {
            headers.insert(header::LOCATION, location.parse().unwrap());
        }
        Self {
            status: call.status.try_into().unwrap(),
            headers,
            body: call.answer.clone().into(),
            broken: false,
        }
    }
}
