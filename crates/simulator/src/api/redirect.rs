//! Paths with a slash or a dot too many: sent to the clean path, as Ollama's HTTP library does.

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};

use crate::wire::Body;

use super::reply::empty;

/// The paths that are redirected to.
const KNOWN: [&str; 24] = [
    "/api/version",
    "/api/status",
    "/api/tags",
    "/api/ps",
    "/api/show",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/api/embeddings",
    "/api/pull",
    "/api/push",
    "/api/create",
    "/api/copy",
    "/api/delete",
    "/api/me",
    "/api/signout",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/responses",
    "/v1/audio/transcriptions",
    "/api/experimental/web_search",
];

/// The redirection of a path that is another one's with slashes or dots too many.
pub fn to_clean(method: &Method, path: &str) -> Option<Response<Body>> {
    if KNOWN.contains(&path) {
        return None;
    }
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let clean = parts.fold(String::new(), |clean, part| format!("{clean}/{part}"));
    let clean = *KNOWN.iter().find(|known| **known == clean)?;
    let only_at_the_end = path.strip_suffix('/') == Some(clean);
    let moved = *method == Method::GET && only_at_the_end;
    let (status, reason) = match moved {
        true => (StatusCode::MOVED_PERMANENTLY, "Moved Permanently"),
        false => (StatusCode::TEMPORARY_REDIRECT, "Temporary Redirect"),
    };
    let mut response = empty(status);
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(clean));
    if *method == Method::GET {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
        let link = format!("<a href=\"{clean}\">{reason}</a>.\n\n");
        *response.body_mut() = Body::whole(link);
    }
    Some(response)
}
