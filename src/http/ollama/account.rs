//! What needs an account at ollama.com. Accounts belong to one server each: the one with `cloud = true` is asked, and its
//! answer is passed on unchanged. Without one all is refused, in the words of an Ollama whose cloud is switched off.
//!
//! Whoever may use models may look and search; signing out is for whoever may manage them.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::models::forwarded;
use crate::http::error::Refusal;
use crate::http::managers::Manager;
use crate::http::visible::Visible;
use crate::http::{State, body, json, request_id};
use crate::protocol::Dialect;

/// No question is longer.
const LONGEST: u64 = 1 << 20;
const SIGN_OUT: &str = "/api/signout";
const KEYS: &str = "/api/user/keys/";

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/me", post(me))
        .route(SIGN_OUT, post(sign_out))
        .route("/api/user/keys/{key}", delete(sign_out))
        .route("/api/experimental/web_search", post(web_search))
        .route("/api/experimental/web_fetch", post(web_fetch))
        .route(
            "/api/experimental/model-recommendations",
            get(recommendations),
        )
}

/// Whether the path is of a call that is not for everybody who may use models.
pub(super) fn is_managing(path: &str) -> bool {
    path == SIGN_OUT || path.starts_with(KEYS)
}

async fn status(Shared(state): Shared<State>, request: Request) -> Response {
    let none = r#"{"cloud":{"disabled":true,"source":"config"}}"#;
    let without = || json(StatusCode::OK, none);
    asked(&state, request, without).await
}

async fn me(Shared(state): Shared<State>, request: Request) -> Response {
    let without = || refused(StatusCode::SERVICE_UNAVAILABLE, "account unavailable");
    asked(&state, request, without).await
}

async fn sign_out(Shared(state): Shared<State>, request: Request) -> Response {
    let text = "there was an error signing out";
    let without = || refused(StatusCode::INTERNAL_SERVER_ERROR, text);
    asked(&state, request, without).await
}

async fn web_search(Shared(state): Shared<State>, request: Request) -> Response {
    let text = "ollama cloud is disabled: web search is unavailable";
    asked(&state, request, || refused(StatusCode::FORBIDDEN, text)).await
}

async fn web_fetch(Shared(state): Shared<State>, request: Request) -> Response {
    let text = "ollama cloud is disabled: web fetch is unavailable";
    asked(&state, request, || refused(StatusCode::FORBIDDEN, text)).await
}

/// Ollama's are of its cloud, and of models that fit into the memory of one machine.
async fn recommendations(Shared(state): Shared<State>, request: Request) -> Response {
    let without = || json(StatusCode::OK, r#"{"recommendations":[]}"#);
    asked(&state, request, without).await
}

fn refused(status: StatusCode, text: &str) -> Response {
    Refusal::ollama(status, text).into_response()
}

/// What the server with the account answers, or what is said without one.
async fn asked(state: &State, request: Request, without: impl FnOnce() -> Response) -> Response {
    let Some(endpoint) = state.gateway.account() else {
        return without();
    };
    let (mut parts, body) = request.into_parts();
    let may = match is_managing(parts.uri.path()) {
        true => Manager::from_request_parts(&mut parts, state)
            .await
            .map(drop),
        false => Visible::from_request_parts(&mut parts, state)
            .await
            .map(drop),
    };
    if let Err(refused) = may {
        return refused;
    }
    let id = request_id::of(&parts.headers);
    let body = body::read(&mut parts.headers, body, LONGEST, &state.limits.decoder).await;
    let body = match body {
        Ok(body) => body,
        Err(error) => return Refusal::body(Dialect::Ollama, error, id).into_response(),
    };
    let mut headers = forwarded(&parts.headers, &id, None);
    if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, kind.clone());
    }
    let path = parts.uri.path();
    let answer = state
        .gateway
        .ask_account(&endpoint, &parts.method, path, &headers, body);
    match answer.await {
        Ok((mut answer, permit)) => {
            answer.headers_mut().insert("x-request-id", id);
            if let Ok(name) = HeaderValue::from_str(endpoint.name()) {
                answer.headers_mut().insert("x-herdsman-endpoint", name);
            }
            answer.map(|body| {
                let body = Full::new(body).map_frame(move |frame| {
                    let _held = &permit;
                    frame
                });
                Body::new(body)
            })
        }
        Err(error) => Refusal::gateway(Dialect::Ollama, error, id).into_response(),
    }
}
