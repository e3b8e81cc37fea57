//! Answers.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use super::TEST_TIMEOUT;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The connection broke before the body was whole.
    pub broken: bool,
}

/// An answer whose body is still coming. Dropping it closes the connection, as a client that leaves.
#[derive(Debug)]
pub struct Stream {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
}

impl Stream {
    pub fn new(answer: Response<Incoming>) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// The next piece; `None` at the end, whichever it is.
    pub async fn piece(&mut self) -> Option<Bytes> {
        loop {
            let frame = timeout(TEST_TIMEOUT, self.body.frame())
                .await
                .expect("a piece in time")?
                .ok()?;
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                data => return data.ok(),
            }
        }
    }

    pub async fn whole(mut self) -> Answer {
        let mut body = Vec::new();
        let mut broken = false;
        while let Some(frame) = timeout(TEST_TIMEOUT, self.body.frame())
            .await
            .expect("the body ends in time")
        {
            match frame {
                Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Answer {
            status: self.status,
            headers: self.headers,
            body: body.into(),
            broken,
        }
    }
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The lines of an NDJSON answer.
    pub fn lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}
