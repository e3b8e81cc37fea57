//! Asking another server over plain HTTP: a registry that a model is pulled from.

use std::io::ErrorKind;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// As many as Go follows.
const MOST_REDIRECTS: usize = 10;

/// An answer, and the connection over which its body comes.
pub struct Answer {
    pub response: Response<Incoming>,
    _connection: JoinSet<()>,
}

/// Where redirects are followed to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    Anywhere,
    /// Not beyond the host name that was asked first.
    SameHost,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn location(&self) -> Option<String> {
        let location = self.response.headers().get(LOCATION)?;
        location.to_str().ok().map(str::to_owned)
    }

    pub async fn whole(self) -> Result<Bytes, String> {
        let body = self.response.into_body().collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|error| error.to_string())
    }
}

/// One request; redirects are followed that far.
pub async fn ask(
    method: &Method,
    url: &str,
    headers: &[(&'static str, String)],
    follow: Follow,
) -> Result<Answer, String> {
    let first = uri(url)?;
    let mut at = first.clone();
    for _ in 0..=MOST_REDIRECTS {
        let answer = send(method, &at, headers).await?;
        let location = match answer.status() {
            301 | 302 | 303 | 307 | 308 => answer.location(),
            _ => None,
        };
        let Some(location) = location else {
            return Ok(answer);
        };
        let next = match location.starts_with('/') {
            true => uri(&format!("http://{}{location}", authority(&at)))?,
            false => uri(&location)?,
        };
        if follow == Follow::SameHost && next.host() != first.host() {
            return Ok(answer);
        }
        at = next;
    }
    Err(format!(
        "Get {url:?}: stopped after {MOST_REDIRECTS} redirects"
    ))
}

async fn send(
    method: &Method,
    uri: &Uri,
    headers: &[(&'static str, String)],
) -> Result<Answer, String> {
    let host = uri.host().unwrap_or_default();
    let refused = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {}: {why}", authority(uri))
    };
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
    let io = TokioIo::new(stream.map_err(refused)?);
    let (mut sender, connection) = http1::handshake(io)
        .await
        .map_err(|error| error.to_string())?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its end is seen by whoever reads the body.
        let _ = connection.await;
    });
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method.clone();
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|_| format!("parse {path:?}"))?;
    let wrong = |_| "invalid header".to_owned();
    let value = HeaderValue::from_str(authority(uri)).map_err(wrong)?;
    request.headers_mut().insert(HOST, value);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(wrong)?;
        request.headers_mut().insert(*name, value);
    }
    let answered = sender.send_request(request).await;
    Ok(Answer {
        response: answered.map_err(|error| error.to_string())?,
        _connection: driver,
    })
}

fn uri(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("parse {url:?}: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(uri),
        _ => Err(format!("Get {url:?}: unsupported protocol scheme")),
    }
}

fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", http::uri::Authority::as_str)
}
