//! The calls that change which models the servers have.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Path, Query, Request, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, head, post};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::account;
use crate::access::Scope;
use crate::gateway::{NoEndpoints, endpoint_names, named_endpoints};
use crate::http::error::Refusal;
use crate::http::managers::Manager;
use crate::http::{State, body, json, request_id};
use crate::models::{Asked, Error, Meant, Ongoing};
use crate::protocol::{Dialect, ManageApi, ManageRequest, PASSED, canonical_digest};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static ENDPOINTS: HeaderName = HeaderName::from_static("x-herdsman-endpoints");
static LEFT_OUT: HeaderName = HeaderName::from_static("x-herdsman-left-out");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// No template, licence or list of messages is longer; a call keeps its body as long as it runs.
const LONGEST_CREATE: u64 = 16 << 20;
/// The other calls name a model or two.
const LONGEST_OTHER: u64 = 64 << 10;
const INVALID_DIGEST: &str = "invalid digest format";

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route(ManageApi::Pull.path(), post(pull))
        .route(ManageApi::Push.path(), post(push))
        .route(ManageApi::Create.path(), post(create))
        .route(ManageApi::Copy.path(), post(copy))
        .route(ManageApi::Delete.path(), delete(remove))
        .route("/api/blobs/{digest}", head(has_blob).post(upload))
}

/// Whether it is the path of one of these calls.
pub(in crate::http) fn is_managing(path: &str) -> bool {
    account::is_managing(path)
        || path.strip_prefix("/api/").is_some_and(|call| {
            matches!(call, "pull" | "push" | "create" | "copy" | "delete")
                || call.starts_with("blobs/")
        })
}

/// A call that has been read.
struct Call {
    asked: Asked,
    streams: bool,
    id: HeaderValue,
}

type Answer = Result<Response, Response>;

async fn pull(Shared(state): Shared<State>, request: Request) -> Answer {
    let call = read(ManageApi::Pull, &state, request).await?;
    let ongoing = state.models.pull(call.asked).await;
    follow(ongoing, call.streams, call.id).await
}

async fn push(Shared(state): Shared<State>, request: Request) -> Answer {
    let call = read(ManageApi::Push, &state, request).await?;
    let ongoing = state.models.push(call.asked).await;
    follow(ongoing, call.streams, call.id).await
}

async fn create(Shared(state): Shared<State>, request: Request) -> Answer {
    let call = read(ManageApi::Create, &state, request).await?;
    let ongoing = state.models.create(call.asked).await;
    follow(ongoing, call.streams, call.id).await
}

async fn copy(Shared(state): Shared<State>, request: Request) -> Answer {
    let call = read(ManageApi::Copy, &state, request).await?;
    let done = state.models.copy(call.asked).await;
    let done = done.map_err(|error| refused(error, &call.id))?;
    Ok(named(StatusCode::OK.into_response(), &call.id, &done, &[]))
}

async fn remove(Shared(state): Shared<State>, request: Request) -> Answer {
    let call = read(ManageApi::Delete, &state, request).await?;
    let done = state.models.delete(call.asked).await;
    let done = done.map_err(|error| refused(error, &call.id))?;
    Ok(named(StatusCode::OK.into_response(), &call.id, &done, &[]))
}

/// `HEAD` has no words.
async fn has_blob(
    Shared(state): Shared<State>,
    Manager(scope): Manager,
    Path(digest): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let id = request_id::of(&headers);
    let meant = meant(&uri, &headers, &scope).map_err(|error| refused(error, &id))?;
    let Some(digest) = canonical_digest(&digest) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    Ok(match state.models.has_blob(&digest, &meant).await {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(error) => error.status,
    }
    .into_response())
}

async fn upload(
    Shared(state): Shared<State>,
    Manager(scope): Manager,
    Path(digest): Path<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let id = request_id::of(&parts.headers);
    let meant = meant(&parts.uri, &parts.headers, &scope).map_err(|error| refused(error, &id))?;
    let Some(digest) = canonical_digest(&digest) else {
        return Err(Refusal::ollama(StatusCode::BAD_REQUEST, INVALID_DIGEST).into_response());
    };
    if parts.headers.contains_key(CONTENT_ENCODING) {
        // Its digest is that of what it stands for, and it is passed on as it comes.
        let text = "blobs are taken without a content encoding";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::ollama(status, text).into_response());
    }
    let headers = forwarded(&parts.headers, &id, None);
    let uploaded = state.models.upload(&digest, &meant, &headers, body).await;
    let uploaded = uploaded.map_err(|error| refused(error, &id))?;
    let status = match uploaded.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(named(status.into_response(), &id, &[], &uploaded.left_out))
}

/// Whoever may not is refused before the body is read.
async fn read(api: ManageApi, state: &State, request: Request) -> Result<Call, Response> {
    let (mut parts, body) = request.into_parts();
    let Manager(scope) = Manager::from_request_parts(&mut parts, state).await?;
    let id = request_id::of(&parts.headers);
    let meant = meant(&parts.uri, &parts.headers, &scope).map_err(|error| refused(error, &id))?;
    let longest = match api {
        ManageApi::Create => LONGEST_CREATE,
        ManageApi::Pull | ManageApi::Push | ManageApi::Copy | ManageApi::Delete => LONGEST_OTHER,
    };
    let longest = state.limits.max_body.min(longest);
    let body = body::read(&mut parts.headers, body, longest, &state.limits.decoder).await;
    let body =
        body.map_err(|error| Refusal::body(Dialect::Ollama, error, id.clone()).into_response())?;
    let understood = ManageRequest::read(api, &body).and_then(|request| {
        let streams = request.streams()?;
        Ok((request, streams))
    });
    let (request, streams) = understood.map_err(|error| refused(error.into(), &id))?;
    let headers = forwarded(&parts.headers, &id, Some("application/json"));
    let asked = Asked {
        request,
        headers,
        meant,
        scope,
        kept: false,
    };
    Ok(Call { asked, streams, id })
}

/// The servers that the client names, in the query or else in a header, of those that it may use.
fn meant(uri: &Uri, headers: &HeaderMap, scope: &Scope) -> Result<Meant, Error> {
    #[derive(Deserialize)]
    struct InQuery {
        endpoints: Option<String>,
    }
    let Ok(Query(InQuery { endpoints })) = Query::<InQuery>::try_from_uri(uri) else {
        return Err(Error {
            status: StatusCode::BAD_REQUEST,
            words: "the query cannot be read".to_owned(),
        });
    };
    let named = match endpoints {
        Some(list) => endpoint_names(&list),
        None => named_endpoints(headers),
    };
    let mut only = named.map_err(|error: NoEndpoints| Error {
        status: StatusCode::BAD_REQUEST,
        words: error.to_string(),
    })?;
    only.sort_unstable();
    only.dedup();
    Ok(Meant {
        only,
        within: scope.servers(),
    })
}

/// What goes on of a client's headers.
pub(in crate::http) fn forwarded(
    headers: &HeaderMap,
    id: &HeaderValue,
    content_type: Option<&'static str>,
) -> HeaderMap {
    let mut forwarded = HeaderMap::new();
    for passed in headers.get_all(&PASSED) {
        forwarded.append(&PASSED, passed.clone());
    }
    forwarded.insert(&REQUEST_ID, id.clone());
    if let Some(kind) = content_type {
        forwarded.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    forwarded
}

/// The progress in lines, or what came of it.
async fn follow(ongoing: Result<Ongoing, Error>, streams: bool, id: HeaderValue) -> Answer {
    let mut ongoing = ongoing.map_err(|error| refused(error, &id))?;
    let (endpoints, left_out) = (ongoing.endpoints(), ongoing.left_out());
    let answer = match streams {
        true => {
            let begun = ongoing.begun().await;
            begun.map_err(|error| refused(error, &id))?;
            let lines = unfold(ongoing, |mut ongoing| async {
                let lines = ongoing.lines().await?;
                Some((Ok::<Bytes, Infallible>(lines), ongoing))
            });
            let mut answer = Body::from_stream(lines).into_response();
            answer.headers_mut().insert(CONTENT_TYPE, NDJSON);
            answer
        }
        false => {
            let done = ongoing.done().await;
            let line = done.map_err(|error| refused(error, &id))?;
            json(StatusCode::OK, line.trim_end().to_owned())
        }
    };
    Ok(named(answer, &id, &endpoints, &left_out))
}

fn refused(error: Error, id: &HeaderValue) -> Response {
    let answer = Refusal::ollama(error.status, error.words).into_response();
    named(answer, id, &[], &[])
}

/// With the servers that it was done on, and those that it was not.
fn named(
    mut answer: Response,
    id: &HeaderValue,
    done: &[Arc<str>],
    left_out: &[Arc<str>],
) -> Response {
    let headers = answer.headers_mut();
    headers.insert(&REQUEST_ID, id.clone());
    for (name, endpoints) in [(&ENDPOINTS, done), (&LEFT_OUT, left_out)] {
        if let (false, Ok(list)) = (
            endpoints.is_empty(),
            HeaderValue::try_from(endpoints.join(",")),
        ) {
            headers.insert(name, list);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_these_calls_is_known_as_one_and_no_other_is() {
        for path in [
            "/api/pull",
            "/api/push",
            "/api/create",
            "/api/copy",
            "/api/delete",
            "/api/blobs/x",
        ] {
            assert!(is_managing(path), "{path}");
        }
        for path in ["/api/chat", "/api/pulled", "/pull", "/api/", "/admin/pulls"] {
            assert!(!is_managing(path), "{path}");
        }
    }

    #[test]
    fn servers_are_named_in_the_query_or_in_a_header() {
        let mut headers = HeaderMap::new();
        let named = |uri: &'static str, headers: &HeaderMap| {
            let meant = meant(&Uri::from_static(uri), headers, &Scope::everything());
            meant.unwrap().only.join("+")
        };
        assert_eq!(named("/api/pull", &headers), "");
        headers.insert(&ENDPOINTS, HeaderValue::from_static("gpu-2, gpu-1,gpu-2"));
        assert_eq!(named("/api/pull?ts=1", &headers), "gpu-1+gpu-2");
        headers.append(&ENDPOINTS, HeaderValue::from_static("gpu-4"));
        assert_eq!(named("/api/pull", &headers), "gpu-1+gpu-2+gpu-4");
        assert_eq!(named("/api/pull?endpoints=gpu%3A3", &headers), "gpu:3");
        let refused = |uri: &'static str, headers: &HeaderMap| {
            meant(&Uri::from_static(uri), headers, &Scope::everything()).is_err()
        };
        assert!(refused("/api/delete?endpoints=", &headers));
        assert!(refused("/api/delete?endpoints=,%20,", &headers));
        for list in [&b""[..], b" , ", b"gp\xc3\xbc"] {
            let list = HeaderValue::from_bytes(list).unwrap();
            let headers = HeaderMap::from_iter([(ENDPOINTS.clone(), list)]);
            assert!(refused("/api/delete", &headers), "{headers:?}");
        }
    }
}
