//! The client of the commands that ask a router: it asks the first of the named routers that answers.
//!
//! The routers of a fleet are equal, so the first that can be reached is asked, and one that is
//! shutting down or cannot do it now is passed over for the next. A change that may have been made
//! is never asked for twice: once a request is on its way, only another *answer* moves it on.

mod lines;

use std::future::{Future, ready};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

pub(super) use lines::Lines;

use super::{Environment, Failure};

const ADDRESS: &str = "HERDSMAN_ADDRESS";
const ADMIN_KEY: &str = "HERDSMAN_ADMIN_KEY";
const API_KEY: &str = "HERDSMAN_API_KEY";
const DEFAULT: &str = "http://127.0.0.1:11435";
/// For a connection, and for an answer.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(30);
/// For the beginning of an answer that comes in lines: a model may have to be loaded first.
const BEGINNING: Duration = Duration::from_secs(15 * 60);
/// No answer to a command is larger.
const MOST_BYTES: usize = 64 << 20;

/// Which routers to ask.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Target {
    /// Routers to ask, the first that answers [env: HERDSMAN_ADDRESS] [default: http://127.0.0.1:11435]
    #[arg(long, value_name = "URL,URL", global = true)]
    address: Option<String>,
    /// File with the admin key [env: HERDSMAN_ADMIN_KEY, the key itself]
    #[arg(long, value_name = "FILE", global = true)]
    admin_key_file: Option<std::path::PathBuf>,
}

/// A connection to whichever router answers.
pub(super) struct Client {
    addresses: Vec<String>,
    key: Option<String>,
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why one router did not answer.
enum Missed {
    /// It has not seen the request.
    Away(String),
    /// It may have.
    Broke(String),
}

impl Target {
    /// A client for these routers, that shows the admin key.
    pub(super) fn client(&self, env: &Environment) -> Result<Client, Failure> {
        self.client_with(env, None)
    }

    /// A client for these routers, that shows an API key if there is one, else the admin key.
    pub(super) fn client_of_models(&self, env: &Environment) -> Result<Client, Failure> {
        let key = env
            .iter()
            .find(|(key, value)| key == API_KEY && !value.is_empty());
        self.client_with(env, key.map(|(_, key)| key.clone()))
    }

    fn client_with(&self, env: &Environment, key: Option<String>) -> Result<Client, Failure> {
        let variable = |name: &str| {
            let found = env
                .iter()
                .find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let written = self.address.clone().or_else(|| variable(ADDRESS));
        let addresses: Vec<String> = written
            .as_deref()
            .unwrap_or(DEFAULT)
            .split(',')
            .map(|address| address.trim().trim_end_matches('/').to_owned())
            .filter(|address| !address.is_empty())
            .collect();
        for address in &addresses {
            let uri: Result<Uri, _> = address.parse();
            if !uri.is_ok_and(|uri| uri.authority().is_some() && uri.scheme().is_some()) {
                return Err(Failure::Usage(format!(
                    "\"{address}\" is not an address such as {DEFAULT}"
                )));
            }
        }
        let key = match &self.admin_key_file {
            _ if key.is_some() => key,
            Some(file) => {
                let read = std::fs::read_to_string(file);
                let text = read.map_err(Failure::to("read the admin key"))?;
                Some(text.trim().to_owned())
            }
            None => variable(ADMIN_KEY),
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.enforce_http(false);
        let builder = rustls::ClientConfig::builder();
        let needs_roots = addresses
            .iter()
            .any(|address| address.starts_with("https:"));
        let builder = match needs_roots {
            true => builder
                .with_native_roots()
                .map_err(Failure::to("read the system's certificates"))?,
            // A bare container has none, and needs none.
            false => builder.with_root_certificates(rustls::RootCertStore::empty()),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(builder.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Client {
            addresses,
            key,
            http: Http::builder(TokioExecutor::new()).build(connector),
        })
    }
}

impl Client {
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks every router; an error when none answers.
    pub(super) async fn ask_all(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Vec<(String, Result<Value, String>)>, Failure> {
        let asked = self.addresses.iter().map(async |address| {
            let sent = self.send(address, &method, path, None, ANSWER).await;
            let answered = match sent {
                Ok(answer) => whole(answer).await,
                Err(missed) => Err(missed),
            };
            let answer = match answered {
                Ok((status, answer)) if status.is_success() => Ok(answer),
                Ok((status, answer)) => Err((Some(status), reason(status, &answer))),
                Err(Missed::Away(why) | Missed::Broke(why)) => Err((None, why)),
            };
            (address.clone(), answer)
        });
        let answers = join_all(asked).await;
        if answers.iter().all(|(_, answer)| answer.is_err()) {
            let mut said = Vec::new();
            for (address, answer) in answers {
                match answer {
                    // It answers, and refuses.
                    Err((Some(status), why)) if status != StatusCode::SERVICE_UNAVAILABLE => {
                        return Err(Failure::to("do it")(why));
                    }
                    Err((_, why)) => said.push(format!("{address}: {why}")),
                    Ok(_) => {}
                }
            }
            return Err(Failure::Unreachable(said));
        }
        let told = |(address, answer): (String, Result<Value, (_, String)>)| {
            (address, answer.map_err(|(_, why)| why))
        };
        Ok(answers.into_iter().map(told).collect())
    }

    /// Asks the routers in turn, and gives the first answer that is one.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.first(method, path, body, ANSWER, value).await
    }

    /// The same for what may take as long as a load does.
    pub(super) async fn ask_long(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.first(method, path, body, BEGINNING, value).await
    }

    /// The same for an answer that comes in lines of JSON, as it comes.
    pub(super) async fn lines(&self, path: &str, body: &Value) -> Result<Lines, Failure> {
        let lines = |answer: Response<Incoming>| ready(Ok(Lines::new(answer.into_body())));
        self.first(Method::POST, path, Some(body), BEGINNING, lines)
            .await
    }

    /// The first answer that is one, as `read` reads it. A router that shuts down or cannot do it now is passed over, and
    /// so is one that breaks off where that can have changed nothing.
    async fn first<T, R>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
        read: impl Fn(Response<Incoming>) -> R,
    ) -> Result<T, Failure>
    where
        R: Future<Output = Result<T, Missed>>,
    {
        let mut said = Vec::new();
        for address in &self.addresses {
            let answered = match self.send(address, &method, path, body, limit).await {
                Ok(answer) if answer.status().is_success() => read(answer).await.map(Ok),
                Ok(answer) => whole(answer).await.map(Err),
                Err(missed) => Err(missed),
            };
            match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err((status, answer))) if status != StatusCode::SERVICE_UNAVAILABLE => {
                    return Err(Failure::to("do it")(reason(status, &answer)));
                }
                Ok(Err((status, answer))) => {
                    said.push(format!("{address}: {}", reason(status, &answer)));
                }
                Err(Missed::Broke(why)) if method != Method::GET => {
                    let text = format!(
                        "{address}: {why}; it may have been done: look before you repeat it"
                    );
                    return Err(Failure::to("do it")(text));
                }
                Err(Missed::Away(why) | Missed::Broke(why)) => {
                    said.push(format!("{address}: {why}"));
                }
            }
        }
        Err(Failure::Unreachable(said))
    }

    /// The head of the answer.
    async fn send(
        &self,
        address: &str,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Missed> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{address}{path}"));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let body = body.map(Value::to_string);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Missed::Away(error.to_string()))?;
        match timeout(limit, self.http.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_connect() => Err(Missed::Away(causes(&error))),
            Ok(Err(error)) => Err(Missed::Broke(causes(&error))),
            Err(_) => Err(Missed::Broke("no answer in time".to_owned())),
        }
    }
}

async fn whole(answer: Response<Incoming>) -> Result<(StatusCode, Value), Missed> {
    let status = answer.status();
    let whole = Limited::new(answer.into_body(), MOST_BYTES).collect();
    let body = match timeout(ANSWER, whole).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(Missed::Broke(error.to_string())),
        Err(_) => return Err(Missed::Broke("no whole answer in time".to_owned())),
    };
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    Ok((
        status,
        serde_json::from_slice(&body).unwrap_or_else(|_| text()),
    ))
}

async fn value(answer: Response<Incoming>) -> Result<Value, Missed> {
    whole(answer).await.map(|(_, value)| value)
}

/// Text for a path or a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

fn reason(status: StatusCode, answer: &Value) -> String {
    let said = answer["error"].as_str().or_else(|| answer.as_str());
    match said {
        Some(said) if !said.is_empty() => said.to_owned(),
        _ => status.to_string(),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}
