//! One GET at a time, in bounded time and memory.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::time::timeout;

use super::{LagAwareConfig, LagAwareError, Unhealthy, basic, trust};

/// The list of a cluster's databases is a few hundred bytes for each.
const MAX_BODY: usize = 4 * 1024 * 1024;

pub(super) struct Rest {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    authorization: Option<HeaderValue>,
    http_timeout: Duration,
}

/// Where an administration is: a scheme, a host and a port; and the credentials, if the
/// address has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    authorization: Option<HeaderValue>,
}

/// What a server says when it does not answer 2xx.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    description: String,
}

impl Base {
    /// `https://user:password@host:port`, down to just `host`. Anything after it means nothing.
    pub(super) fn parse(url: &str, port: u16) -> Option<Self> {
        let with_scheme = if url.contains("://") {
            url.to_owned()
        } else {
            format!("https://{url}")
        };
        let parts = with_scheme.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme?;
        let given = parts.authority?;
        let port = given.port_u16().unwrap_or(port);
        let authority = format!("{}:{port}", given.host()).parse().ok()?;
        let authorization = match given.as_str().rsplit_once('@') {
            Some((user, _)) => Some(basic::authorization_of(user)?),
            None => None,
        };
        [Scheme::HTTP, Scheme::HTTPS]
            .contains(&scheme)
            .then_some(Self {
                scheme,
                authority,
                authorization,
            })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl Rest {
    pub(super) fn new(config: &LagAwareConfig) -> Result<Self, LagAwareError> {
        let authorization = match &config.auth_basic {
            Some((user, password)) => {
                Some(basic::authorization(user, password).ok_or(LagAwareError::User)?)
            }
            None => None,
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.http_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust::client_config(config)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self {
            client,
            authorization,
            http_timeout: config.http_timeout,
        })
    }

    /// The body of a 2xx answer. Any other answer, or none in time, is unhealthy. Redirects are not
    /// followed: no other server gets the password.
    pub(super) async fn get(&self, base: &Base, path: &str) -> Result<Bytes, Unhealthy> {
        timeout(self.http_timeout, self.exchange(base, path))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.http_timeout)))
            .map_err(|error| Unhealthy(format!("{base}: {error}")))
    }

    async fn exchange(&self, base: &Base, path: &str) -> Result<Bytes, String> {
        let uri = Uri::builder()
            .scheme(base.scheme.clone())
            .authority(base.authority.clone())
            .path_and_query(path)
            .build();
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = base.authorization.as_ref().or(self.authorization.as_ref()) {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        // A connection that was kept may have been closed while the request was in flight, and at
        // most one is kept: the second time it is a new one.
        let answer = match self.client.request(request.clone()).await {
            Ok(answer) => answer,
            Err(_) => self.client.request(request).await.map_err(causes)?,
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BODY)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let why = serde_json::from_slice::<Refusal>(&body);
        Err(why.map_or_else(
            |_| status.to_string(),
            |why| format!("{status} {} {}", why.error_code, why.description),
        ))
    }
}

/// The whole of what went wrong: the client says what it did, its sources what happened.
fn causes(error: hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("http_timeout", &self.http_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme_and_its_port() {
        let base = |url| Base::parse(url, 9443).map(|base| base.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(base("https://a.example"), some("https://a.example:9443"));
        assert_eq!(base("a.example"), some("https://a.example:9443"));
        assert_eq!(base("http://a.example:80/x"), some("http://a.example:80"));
        assert_eq!(base("https://[fd00::1]"), some("https://[fd00::1]:9443"));
        assert_eq!(
            base("https://u:p@a.example"),
            some("https://a.example:9443")
        );
        assert_eq!(base("ftp://a.example"), None);
        assert_eq!(base(""), None);
    }
}
