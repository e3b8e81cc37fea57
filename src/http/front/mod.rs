//! The first checks of a request: are its `Origin` and its `Host` allowed?
//!
//! A router without keys on a person's machine is reachable by every web page that person opens.
//! Two rules keep pages out, both Ollama's: a request with an `Origin` that is not allowed gets 403
//! whatever the path, and a router that listens on loopback answers only to names of this machine
//! (else a page could rebind its own name to 127.0.0.1). A page that is allowed gets the CORS
//! headers its browser wants.
//!
//! Inference requests go from here straight to their handler: they are nearly all requests, and the
//! layers of the general router are a twentieth of what such a request costs.

mod host;
mod origins;
mod path;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tower::Service;

pub use origins::Origins;

use super::admin::Peer;
use super::{State, ollama};
use crate::protocol::Api;

/// The checks before the router.
#[derive(Clone, Debug)]
pub struct Front {
    state: State,
    router: Router,
    origins: Origins,
    /// Only requests to a name of this machine are answered.
    guards_host: bool,
    /// The other end of the connection, once there is one.
    peer: Option<Peer>,
}

enum Decision {
    /// No page is involved.
    Plain,
    /// An allowed page.
    Page(HeaderValue),
    /// A CORS preflight of an allowed page.
    Preflight(HeaderValue),
    Refused,
}

impl Front {
    /// Guards every path there is; `on_loopback` says that the listening address is one of this
    /// machine only.
    #[must_use]
    pub fn new(state: State, origins: Origins, on_loopback: bool) -> Self {
        Self {
            router: super::router(state.clone()),
            state,
            origins,
            guards_host: on_loopback,
            peer: None,
        }
    }

    /// The same for one connection.
    #[must_use]
    pub(super) fn for_peer(&self, peer: SocketAddr) -> Self {
        Self {
            peer: Some(Peer(peer)),
            ..self.clone()
        }
    }

    fn decide(&self, request: &Request<Incoming>) -> Decision {
        let headers = request.headers();
        let host = headers
            .get(HOST)
            .map_or("", |host| host.to_str().unwrap_or("?"));
        if self.guards_host && !host::is_this_machine(host) {
            return Decision::Refused;
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return Decision::Plain;
        };
        let allowed = origin
            .to_str()
            .is_ok_and(|origin| self.origins.allow(origin, host));
        match (allowed, request.method() == Method::OPTIONS) {
            (false, _) => Decision::Refused,
            (true, true) if headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) => {
                Decision::Preflight(origin.clone())
            }
            (true, _) => Decision::Page(origin.clone()),
        }
    }
}

impl Front {
    fn admit(&self, request: Request<Incoming>) -> Answer {
        let called = (request.method() == Method::POST).then(|| Api::at(request.uri().path()));
        match called.flatten() {
            Some(api) => {
                let state = self.state.clone();
                Box::pin(async move { Ok(ollama::answer(api, state, request).await) })
            }
            None => Box::pin(self.router.clone().call(request.map(Body::new))),
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        path::clean(request.uri_mut());
        // Only the admin API needs the address, and it costs an allocation.
        if request.uri().path().starts_with("/admin/")
            && let Some(peer) = self.peer
        {
            request.extensions_mut().insert(peer);
        }
        match self.decide(&request) {
            Decision::Plain => self.admit(request),
            Decision::Refused => Box::pin(async { Ok(StatusCode::FORBIDDEN.into_response()) }),
            Decision::Preflight(origin) => Box::pin(async { Ok(preflight(origin)) }),
            Decision::Page(origin) => {
                let answer = self.admit(request);
                Box::pin(async { answer.await.map(|answer| readable(answer, origin)) })
            }
        }
    }
}

fn preflight(origin: HeaderValue) -> Response {
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
             X-Api-Key, Anthropic-Version, OpenAI-Beta, x-herdsman-tags, x-herdsman-endpoints, \
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
    answer
}

fn readable(mut answer: Response, origin: HeaderValue) -> Response {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(VARY, HeaderValue::from_static("Origin"));
    answer
}
