//! The first checks of a request: are its `Origin` and its `Host` allowed?
//!
//! A router without keys on a person's machine is reachable by every web page that person opens.
//! Two rules keep pages out, both Ollama's: a request with an `Origin` that is not allowed gets 403
//! whatever the path, and a router that listens on loopback answers only to names of this machine
//! (else a page could rebind its own name to 127.0.0.1) and those it is configured with ([`Hosts`]). Unlike
//! Ollama's, the refusal says why, and what to set. A page that is allowed gets the CORS headers its browser
//! wants.
//!
//! Inference requests go from here straight to their handler: they are nearly all requests, and the
//! layers of the general router are a twentieth of what such a request costs.

mod host;
mod origins;
mod path;
mod proxies;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tower::Service;

pub use host::Hosts;
pub use origins::Origins;
pub(in crate::http) use proxies::ClientAddress;
pub use proxies::Proxies;

use super::admin::Peer;
use super::error::Refusal;
use super::{State, controller, ollama, usage};
use crate::gateway::{Gateway, Sender};
use crate::protocol::{Api, Dialect, Instance, PASSED};

/// A page asks whether it may call into a network that is closer to its reader than its own.
static ASKS_FOR_PRIVATE: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
static ALLOWS_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// What a refusal quotes of a name is no longer.
const QUOTED: usize = 100;

/// The checks before the router.
#[derive(Clone, Debug)]
pub struct Front {
    state: State,
    router: Router,
    origins: Origins,
    hosts: Hosts,
    proxies: Proxies,
    /// The other end of the connection, once there is one.
    peer: Option<SocketAddr>,
    /// It is encrypted.
    encrypted: bool,
}

enum Decision {
    /// No page is involved.
    Plain,
    /// An allowed page.
    Page(HeaderValue),
    /// A CORS preflight of an allowed page.
    Preflight {
        origin: HeaderValue,
        /// It may call into a private network, and asks.
        private: bool,
    },
    /// Why, and what to set.
    Refused(String),
}

impl Front {
    /// Guards every path there is.
    #[must_use]
    pub fn new(state: State, origins: Origins, hosts: Hosts, proxies: Proxies) -> Self {
        Self {
            router: super::router(state.clone()),
            state,
            origins,
            hosts,
            proxies,
            peer: None,
            encrypted: false,
        }
    }

    /// The same for one connection.
    #[must_use]
    pub(super) fn for_peer(&self, peer: SocketAddr, encrypted: bool) -> Self {
        Self {
            peer: Some(peer),
            encrypted,
            ..self.clone()
        }
    }

    fn decide(&self, request: &Request<Incoming>) -> Decision {
        let headers = request.headers();
        let host = host_of(headers);
        if !self.hosts.allow(host) {
            return Decision::Refused(not_a_host(host));
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return Decision::Plain;
        };
        let named = origin.to_str().unwrap_or("?");
        if !self.origins.allow(named, host) {
            return Decision::Refused(not_an_origin(named));
        }
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        match asks {
            true => Decision::Preflight {
                origin: origin.clone(),
                private: headers.contains_key(&ASKS_FOR_PRIVATE) && self.origins.names(named),
            },
            false => Decision::Page(origin.clone()),
        }
    }
}

/// Whether it asks whom a call comes from.
fn is_managing(path: &str) -> bool {
    let is_in = |group: &str| path.starts_with(group);
    is_in("/admin/")
        || is_in("/v2/")
        || ollama::is_managing(path)
        || usage::is_managing(path)
        || controller::is_at(path)
}

fn host_of(headers: &HeaderMap) -> &str {
    let host = headers.get(HOST);
    host.map_or("", |host| host.to_str().unwrap_or("?"))
}

fn not_a_host(host: &str) -> String {
    let name = &host::name(host)[..host::name(host).len().min(QUOTED)];
    format!(
        "forbidden: while it listens on loopback only, this router does not answer under the name \
         '{name}'. To allow it, for a tunnel or a proxy, set server.hosts = [\"{name}\"]"
    )
}

fn not_an_origin(origin: &str) -> String {
    let origin = &origin[..origin.len().min(QUOTED)];
    format!(
        "forbidden: pages of '{origin}' may not call this router. To allow them, set \
         server.cors_origins = [\"{origin}\"]"
    )
}

impl Front {
    fn sender(&self, headers: &HeaderMap) -> Sender {
        match self.peer {
            Some(peer) => self.proxies.sender(peer, self.encrypted, headers),
            None => Sender::default(),
        }
    }

    fn admit(&self, request: Request<Incoming>) -> Answer {
        let called = (request.method() == Method::POST).then(|| Api::at(request.uri().path()));
        match called.flatten() {
            Some(api) => {
                let state = self.state.clone();
                let sender = self.sender(request.headers());
                Box::pin(async move {
                    let answer = ollama::answer(api, &state, request, sender).await;
                    Ok(passed(answer, &state.instance, &state.gateway))
                })
            }
            None if self.state.instance.refuses(request.headers()) => {
                let dialect = Dialect::of(request.uri().path());
                self.at_once(Refusal::looped(dialect).into_response())
            }
            None => {
                let mut router = self.router.clone();
                let gateway = Arc::clone(&self.state.gateway);
                let instance = self.state.instance.clone();
                Box::pin(async move {
                    let answer = router.call(request.map(Body::new)).await?;
                    Ok(passed(answer, &instance, &gateway))
                })
            }
        }
    }

    fn at_once(&self, answer: Response) -> Answer {
        let answer = passed(answer, &self.state.instance, &self.state.gateway);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// An answer of a server's says which routers it has passed. What this router says itself is about all of
/// its servers, and so about all the routers behind it. Of a router that is about to stop it is the last one on
/// its connection: whoever keeps that would find it closed a moment later, maybe under a request.
fn passed(mut answer: Response, instance: &Instance, gateway: &Gateway) -> Response {
    if !answer.headers().contains_key(&PASSED) {
        let view = gateway.fleet().view();
        let routers = instance.before(Some(view.routers()));
        answer.headers_mut().insert(&PASSED, routers);
    }
    if !gateway.is_ready() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        path::clean(request.uri_mut());
        // Only what this machine itself may do needs to know, and it costs an allocation.
        let path = request.uri().path();
        if is_managing(path)
            && let Some(address) = self.peer
        {
            let headers = request.headers();
            let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
            let peer = Peer {
                from: self.proxies.from(address, headers),
                named: host::is_this_machine(host_of(headers)),
                trusted: origin.is_some_and(|origin| self.origins.has(origin)),
            };
            request.extensions_mut().insert(peer);
        }
        match self.decide(&request) {
            Decision::Plain => self.admit(request),
            Decision::Refused(why) => {
                let dialect = Dialect::of(request.uri().path());
                self.at_once(Refusal::new(dialect, StatusCode::FORBIDDEN, why).into_response())
            }
            Decision::Preflight { origin, private } => self.at_once(preflight(origin, private)),
            Decision::Page(origin) => {
                let answer = self.admit(request);
                Box::pin(async { answer.await.map(|answer| readable(answer, origin)) })
            }
        }
    }
}

fn preflight(origin: HeaderValue, private: bool) -> Response {
    let mut answer = readable(StatusCode::NO_CONTENT.into_response(), origin);
    let headers = answer.headers_mut();
    let fixed = [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS",
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, User-Agent, Accept, X-Requested-With, X-Request-Id, \
             X-Api-Key, Anthropic-Version, Anthropic-Beta, \
             anthropic-dangerous-direct-browser-access, OpenAI-Beta, x-herdsman-tags, x-herdsman-endpoints, \
             x-stainless-arch, x-stainless-async, x-stainless-custom-poll-interval, \
             x-stainless-helper-method, x-stainless-lang, x-stainless-os, \
             x-stainless-package-version, x-stainless-poll-helper, x-stainless-retry-count, \
             x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout",
        ),
        (ACCESS_CONTROL_MAX_AGE, "43200"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if private {
        headers.insert(&ALLOWS_PRIVATE, HeaderValue::from_static("true"));
    }
    answer
}

fn readable(mut answer: Response, origin: HeaderValue) -> Response {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(VARY, HeaderValue::from_static("Origin"));
    answer
}
