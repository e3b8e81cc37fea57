//! The HTTP interface: paths, headers and statuses.
//!
//! Owns the connections to clients, the shapes of what the router itself answers, and the one file
//! that turns refusals into each dialect's errors ([`error`]). Handlers are short: decisions are
//! taken in lower modules. It must not know how a server is chosen, what a token
//! costs, or where anything is stored.
//!
//! It fails towards the client only: slow or endless headers and bodies, too many of them, and
//! unknown paths each have their status, and no handler panics the server: a connection is a task
//! of its own.

mod admin;
mod body;
mod controller;
mod credentials;
mod decode;
mod error;
mod front;
mod head_timer;
mod managers;
mod ollama;
mod openai;
mod ops;
mod registry;
mod request_id;
mod serve;
mod socket;
mod state;
mod tls;
mod usage;
mod visible;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

pub use admin::{Actions, Admin, Ticks};
pub use controller::Joiners;
pub use front::{Front, Hosts, Origins, Proxies};
pub use managers::Managers;
pub use serve::{Patience, Server, serve};
pub use state::{Limits, State};
pub use tls::{Tls, TlsError};

/// Every path there is.
fn router(state: State) -> Router {
    Router::new()
        .merge(ollama::routes())
        .merge(openai::routes())
        .merge(usage::routes(&state))
        .merge(ops::routes())
        .merge(registry::routes(&state))
        .merge(controller::routes())
        .merge(admin::routes(&state))
        .fallback(async || plain(StatusCode::NOT_FOUND, "404 page not found"))
        .method_not_allowed_fallback(async || {
            plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed")
        })
        .with_state(state)
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text,
    )
        .into_response()
}

/// JSON that is rendered already.
fn json(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        body.into(),
    )
        .into_response()
}
