//! `/v2/…`: the router as registry of models, for its own servers and nobody else.
//!
//! As much of a registry as Ollama's downloader asks for: manifests by tag, blobs by digest, whole or in parts. A blob
//! that is asked for under another name than the second one the router advertises is answered with a redirect to
//! that: Ollama takes blobs only from there. What a model is and where it comes from is the [`mirror`](crate::mirror)'s.

mod blob;
mod guard;
mod range;
mod refusal;

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};

use super::{State, json};
use crate::mirror::{Mirror, Reference, Repository};
use refusal::Refused;

/// Without a mirror there are none.
pub(super) fn routes(state: &State) -> Router<State> {
    let Some(mirror) = &state.mirror else {
        return Router::new();
    };
    let guarded = guard::Guarded {
        gateway: state.gateway.clone(),
        mirror: mirror.clone(),
    };
    let read_only = async |headers: HeaderMap| Refused::method().answer(&headers);
    Router::new()
        .route(
            "/v2/",
            get(async || json(StatusCode::OK, "{}")).fallback(read_only),
        )
        .route("/v2/{*path}", get(answer).fallback(read_only))
        .with_state(mirror.clone())
        .layer(from_fn_with_state(guarded, guard::check))
}

async fn answer(
    Shared(mirror): Shared<Mirror>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let parts: Vec<&str> = path.split('/').collect();
    let answered = match parts[..] {
        [namespace, model, "manifests", tag] => manifest(&mirror, namespace, model, tag).await,
        [namespace, model, "blobs", digest] => match Repository::at(namespace, model) {
            Some(repository) => blob::found(&mirror, &repository, digest, &method, &headers).await,
            None => Err(Refused::unknown("no such name of a model")),
        },
        _ => Err(Refused::unknown("there is nothing at this path")),
    };
    answered.unwrap_or_else(|refused| refused.answer(&headers))
}

async fn manifest(
    mirror: &Mirror,
    namespace: &str,
    model: &str,
    tag: &str,
) -> Result<Response, Refused> {
    let reference = Reference::at(namespace, model, tag);
    let reference = reference.ok_or_else(|| Refused::unknown("no such name of a model"))?;
    let manifest = mirror.manifest(&reference).await?;
    let kind = [(CONTENT_TYPE, manifest.media_type.clone())];
    Ok((kind, manifest.bytes.clone()).into_response())
}
