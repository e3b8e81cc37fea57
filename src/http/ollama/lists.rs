//! What the fleet has and runs, from its caches. Only `/api/ps` waits for a server, and only for one that
//! has loaded or unloaded a model for a request of this router and has not been asked since.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::http::error::Refusal;
use crate::http::visible::Visible;
use crate::http::{State, json, plain};

/// The Ollama whose API is served before servers that are none.
const LEVEL: &str = "0.12.6";

/// Ollama's clients look for exactly this text.
pub(super) async fn root() -> Response {
    plain(StatusCode::OK, "Ollama is running")
}

/// The oldest version in the fleet: what every server can do.
pub(super) async fn version(Shared(state): Shared<State>) -> Response {
    let view = state.gateway.fleet().view();
    match view.version() {
        Some(version) => json(
            StatusCode::OK,
            serde_json::json!({ "version": version.to_string() }).to_string(),
        ),
        None if view.has_ollama() => {
            let text = "no server has said its version yet, please try again.";
            Refusal::ollama(StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        None => json(StatusCode::OK, format!(r#"{{"version":"{LEVEL}"}}"#)),
    }
}

pub(super) async fn tags(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let view = state.gateway.fleet().view();
    let tags = match scope.is_everything() {
        true => view.tags(),
        false => view.tags_of(|model| scope.shows(model)),
    };
    json(StatusCode::OK, tags)
}

pub(super) async fn ps(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let view = state.gateway.fleet().settled_view().await;
    let running = match scope.is_everything() {
        true => view.running(),
        false => view.running_of(|model| scope.shows(model)),
    };
    json(StatusCode::OK, running)
}

/// Ollama's list of loaded models has no `HEAD`.
pub(super) async fn no_head() -> Response {
    StatusCode::METHOD_NOT_ALLOWED.into_response()
}
