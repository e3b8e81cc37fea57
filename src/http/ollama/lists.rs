//! What the fleet has and runs, from its caches: never waits for a server.

use axum::extract::State as Shared;
use axum::response::Response;
use http::StatusCode;

use crate::http::{State, json, plain};

/// Ollama's clients look for exactly this text.
pub(super) async fn root() -> Response {
    plain(StatusCode::OK, "Ollama is running")
}

/// The oldest version in the fleet: what every server can do.
pub(super) async fn version(Shared(state): Shared<State>) -> Response {
    let view = state.gateway.fleet().view();
    let version = view
        .version()
        .map_or_else(|| "0.0.0".to_owned(), ToString::to_string);
    json(
        StatusCode::OK,
        serde_json::json!({ "version": version }).to_string(),
    )
}

/// Cloud models belong to the identity of one server, so a fleet does not offer them.
pub(super) async fn status() -> Response {
    json(
        StatusCode::OK,
        r#"{"cloud":{"disabled":true,"source":"config"}}"#,
    )
}

pub(super) async fn tags(Shared(state): Shared<State>) -> Response {
    json(StatusCode::OK, state.gateway.fleet().view().tags())
}

pub(super) async fn ps(Shared(state): Shared<State>) -> Response {
    json(StatusCode::OK, state.gateway.fleet().view().running())
}
