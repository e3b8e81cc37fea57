//! Which path is what, for the main port.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::answer::Dialect;
use crate::fault::Stage;
use crate::node::Node;
use crate::wire::{Abort, Body};

use super::guard::{Verdict, check};
use super::redirect;
use super::reply::{empty, text};
use super::{account, audio, blobs, control, embed, infer, inspect, manage, openai_models, pull};

/// Answers one request of the main port.
pub async fn handle(node: Arc<Node>, request: Request<Incoming>) -> Result<Response<Body>, Abort> {
    if request.uri().path().starts_with("/_sim") {
        return Ok(control(node, request).await);
    }
    node.totals.http_requests.fetch_add(1, Relaxed);
    if node.faults.take(Stage::Accept, None).is_some() {
        return Err(Abort::Reset);
    }
    node.apply_arrival_faults(None).await;
    if node.faults.take(Stage::Guard, None).is_some() {
        return Ok(empty(StatusCode::FORBIDDEN));
    }
    let origin = match check(&node, request.method(), request.headers()) {
        Verdict::Stop(response) => return Ok(response),
        Verdict::Pass(origin) => origin,
    };
    let mut response = route(node, request).await;
    if let Some(origin) = origin {
        response
            .headers_mut()
            .insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    Ok(response)
}

async fn route(node: Arc<Node>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let (method, path) = (&parts.method, parts.uri.path());
    let is = |allowed: &[Method]| allowed.contains(method);
    const POST: &[Method] = &[Method::POST];
    const LOOK: &[Method] = &[Method::GET, Method::HEAD];
    const GET: &[Method] = &[Method::GET];

    if let Some(redirected) = redirect::to_clean(method, path) {
        return redirected;
    }
    let dialect = match path {
        "/api/chat" => Some(Dialect::Chat),
        "/api/generate" => Some(Dialect::Generate),
        "/v1/chat/completions" => Some(Dialect::OpenAiChat),
        "/v1/completions" => Some(Dialect::OpenAiText),
        "/v1/messages" => Some(Dialect::Messages),
        "/v1/responses" => Some(Dialect::Responses),
        _ => None,
    };
    if let Some(dialect) = dialect {
        return if is(POST) {
            infer::infer(&node, dialect, body).await
        } else {
            not_allowed()
        };
    }
    match path {
        "/" if is(LOOK) => text(StatusCode::OK, "Ollama is running"),
        "/api/version" if is(LOOK) => inspect::version(&node),
        "/api/status" if is(GET) => inspect::status(),
        "/api/tags" if is(LOOK) => inspect::tags(&node).await,
        "/api/ps" if is(GET) => inspect::ps(&node).await,
        "/api/show" if is(POST) => inspect::show(&node, body).await,
        "/v1/models" if is(GET) => openai_models::list(&node).await,
        "/api/embed" if is(POST) => embed::embed(&node, embed::Shape::Embed, body).await,
        "/api/embeddings" if is(POST) => embed::embed(&node, embed::Shape::Embeddings, body).await,
        "/v1/embeddings" if is(POST) => embed::embed(&node, embed::Shape::OpenAi, body).await,
        "/api/pull" if is(POST) => pull::pull(&node, body).await,
        "/api/push" if is(POST) => pull::push(&node, body).await,
        "/api/create" if is(POST) => manage::create(&node, body).await,
        "/api/copy" if is(POST) => manage::copy(&node, body).await,
        "/api/delete" if is(&[Method::DELETE]) => manage::delete(&node, body).await,
        "/v1/audio/transcriptions" if is(POST) => {
            audio::transcribe(&node, &parts.headers, body).await
        }
        "/" | "/api/version" | "/api/status" | "/api/tags" | "/api/ps" | "/api/show"
        | "/v1/models" | "/api/embed" | "/api/embeddings" | "/v1/embeddings" | "/api/pull"
        | "/api/push" | "/api/create" | "/api/copy" | "/api/delete" => not_allowed(),
        _ => match account::answer(method, path) {
            Some(answer) => answer,
            None => nested(&node, method, path, body).await,
        },
    }
}

/// Paths with a name in them.
async fn nested(node: &Arc<Node>, method: &Method, path: &str, body: Incoming) -> Response<Body> {
    let last = |prefix: &str| {
        path.strip_prefix(prefix)
            .filter(|rest| !rest.is_empty() && !rest.replace("%2F", "/").contains('/'))
    };
    if let Some(digest) = last("/api/blobs/") {
        return match *method {
            Method::HEAD => blobs::head(node, digest),
            Method::POST => blobs::post(node, digest, body).await,
            _ => not_allowed(),
        };
    }
    match last("/v1/models/") {
        Some(name) if *method == Method::GET => openai_models::one(node, name),
        Some(_) => not_allowed(),
        None => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

fn not_allowed() -> Response<Body> {
    text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed")
}
