//! Telling the routers: the first that answers, or all of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Error;
use super::state::{Registered, Step};
use crate::config::EndpointUrl;
use crate::domain::ServerFacts;
use crate::upstream::{Client, Remote, Target};

const REGISTER: &str = "/api/controller/models";
const RENEW: &str = "/api/controller/heartbeat";
/// One that says nothing for so long is passed over: two of them in a row, and there is still time for a third.
const ANSWER: Duration = Duration::from_millis(2_500);
/// No answer is longer.
const MOST_BYTES: usize = 64 << 10;
/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(60);

/// The routers, and which of them answered last.
pub(super) struct Routers {
    all: Vec<(String, Remote)>,
    at: usize,
    client: Client,
}

/// What is told.
pub(super) struct Body {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) run: String,
    pub(super) incarnation: i64,
    pub(super) leaving: bool,
    pub(super) facts: ServerFacts,
}

/// What a router said.
#[derive(Debug)]
pub(super) enum Answered {
    /// It is registered.
    Registered(Registered),
    /// There is no such registration.
    Unknown,
    /// Another one has it.
    Over(String),
    /// It may not, or is not understood.
    Refused(String),
    /// None of them, for now; each with its reason.
    Silent(String),
}

impl Routers {
    /// Those at these addresses. Agents begin with different ones, so that all routers have some.
    pub(super) fn new(
        addresses: &[EndpointUrl],
        key: &str,
        name: &str,
        client: Client,
    ) -> Result<Self, Error> {
        let mut all = Vec::new();
        for address in addresses {
            let remote = Remote {
                target: Arc::new(Target::new(address.uri(), key)?),
                connections: client.connections(KEPT),
            };
            all.push((address.host_and_port(), remote));
        }
        let sum: usize = name.bytes().map(usize::from).sum();
        Ok(Self {
            at: sum % all.len().max(1),
            all,
            client,
        })
    }

    /// Tells the one that answered last, or the next that does. One that refuses it does not speak for the others: they
    /// may have another key by now, or another version.
    pub(super) async fn tell(&mut self, step: Step, body: &Body) -> Answered {
        let body = Bytes::from(body.json());
        let (mut said, mut refused) = (Vec::new(), None);
        for offset in 0..self.all.len() {
            let at = (self.at + offset) % self.all.len();
            match self.ask(at, step, &body).await {
                Ok(Answered::Refused(why)) => refused = refused.or(Some(why)),
                Ok(answered) => {
                    self.at = at;
                    return answered;
                }
                Err(why) => said.push(format!("{}: {why}", self.all[at].0)),
            }
        }
        match refused {
            // All of them.
            Some(why) if said.is_empty() => Answered::Refused(why),
            why => Answered::Silent(why.into_iter().chain(said).collect::<Vec<_>>().join(", ")),
        }
    }

    /// Tells all of them. How many requests run there through those that answer; nothing if none does.
    pub(super) async fn tell_all(&self, step: Step, body: &Body) -> Option<u32> {
        let body = Bytes::from(body.json());
        let asked = (0..self.all.len()).map(|at| self.ask(at, step, &body));
        let answers = join_all(asked).await.into_iter();
        let running = answers.filter_map(|answered| match answered {
            Ok(Answered::Registered(registered)) => Some(registered.in_flight),
            _ => None,
        });
        running.reduce(|sum, more| sum + more)
    }

    async fn ask(&self, at: usize, step: Step, body: &Bytes) -> Result<Answered, String> {
        let path = match step {
            Step::Register => REGISTER,
            Step::Renew => RENEW,
        };
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let asked = async {
            let remote = &self.all[at].1;
            let sent = self
                .client
                .send_to(remote, &Method::POST, path, &headers, body);
            let (head, body) = sent
                .await
                .map_err(|failure| failure.to_string())?
                .into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok((head.status, body))
        };
        let silent = || Err("no answer in time".to_owned());
        let (status, body) = timeout(ANSWER, asked).await.unwrap_or_else(|_| silent())?;
        read(status, &body)
    }
}

/// What an answer means. An error: the next router may do better.
fn read(status: StatusCode, body: &[u8]) -> Result<Answered, String> {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let why = || match &said["detail"] {
        Value::String(why) => why.clone(),
        Value::Null => format!("status {status}"),
        other => other.to_string(),
    };
    match status.as_u16() {
        200 => match serde_json::from_value(said.clone()) {
            Ok(registered) => Ok(Answered::Registered(registered)),
            Err(_) => Err("its answer is not a router's".to_owned()),
        },
        // Of a program that has no such call the answer has no detail.
        404 if said["detail"].is_string() => Ok(Answered::Unknown),
        409 => Ok(Answered::Over(why())),
        401 | 403 | 422 => Ok(Answered::Refused(why())),
        _ => Err(why()),
    }
}

impl Body {
    /// With what a worker says as well.
    fn json(&self) -> String {
        let url = url::Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(url::Url::host_str);
        let port = url.as_ref().and_then(url::Url::port_or_known_default);
        json!({
            "model_name": format!("{}@herdsman", self.name),
            "host": host.unwrap_or("unknown"),
            "port": port.unwrap_or(80),
            "agent": {
                "name": self.name,
                "url": self.url,
                "run": self.run,
                "incarnation": self.incarnation,
                "leaving": self.leaving,
                "facts": self.facts,
            },
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_router_s_or_the_next_router_is_asked() {
        let read = |status: u16, body: &str| {
            format!(
                "{:?}",
                super::read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
            )
        };
        let registered = r#"{"incarnation":2,"term_ms":10000,"renew_ms":3000,"in_flight":1}"#;
        assert!(read(200, registered).starts_with("Ok(Registered"));
        assert!(read(200, "true").starts_with("Err"), "another program's");
        assert_eq!(read(404, r#"{"detail":"not registered"}"#), "Ok(Unknown)");
        assert!(read(404, "404 page not found").starts_with("Err"));
        assert_eq!(read(409, r#"{"detail":"taken"}"#), r#"Ok(Over("taken"))"#);
        assert_eq!(read(401, r#"{"detail":"key"}"#), r#"Ok(Refused("key"))"#);
        assert!(read(503, r#"{"detail":"later"}"#).starts_with("Err"));
    }
}
