//! What needs an account at ollama.com. Each server has its own, so a fleet has none: refused in the words of an
//! Ollama whose cloud is switched off.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::StatusCode;

use crate::http::error::Refusal;
use crate::http::{State, json};

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/api/me", post(me))
        .route("/api/signout", post(sign_out))
        .route("/api/user/keys/{key}", delete(sign_out))
        .route("/api/experimental/web_search", post(web_search))
        .route("/api/experimental/web_fetch", post(web_fetch))
        .route(
            "/api/experimental/model-recommendations",
            get(recommendations),
        )
}

async fn me() -> Response {
    Refusal::ollama(StatusCode::SERVICE_UNAVAILABLE, "account unavailable").into_response()
}

async fn sign_out() -> Response {
    let text = "there was an error signing out";
    Refusal::ollama(StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

async fn web_search() -> Response {
    no_cloud("web search is unavailable")
}

async fn web_fetch() -> Response {
    no_cloud("web fetch is unavailable")
}

fn no_cloud(what: &str) -> Response {
    let text = format!("ollama cloud is disabled: {what}");
    Refusal::ollama(StatusCode::FORBIDDEN, text).into_response()
}

/// Ollama's are of its cloud, and of models that fit into the memory of one machine.
async fn recommendations() -> Response {
    json(StatusCode::OK, r#"{"recommendations":[]}"#)
}
