//! A blob: where it is, how long it is, and its bytes as they come.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderValue, LOCATION,
};
use http::{HeaderMap, Method, StatusCode};

use super::range::Part;
use super::refusal::Refused;
use crate::mirror::{Digest, Mirror, Names, Repository};

pub(super) async fn found(
    mirror: &Mirror,
    repository: &Repository,
    digest: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let digest = Digest::parse(digest).ok_or_else(Refused::digest)?;
    if !is_asked_as(mirror.names(), headers) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let location = mirror.names().location(&path);
        let location = HeaderValue::try_from(location).map_err(|_| Refused::digest())?;
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response());
    }
    let size = mirror.size(repository, &digest).await?;
    let (status, part) = match Part::of(headers, size) {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Some(part) => (StatusCode::PARTIAL_CONTENT, part),
        Part::None => return Err(Refused::range(size)),
    };
    let length = part.end - part.start;
    let range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
    // Its head is answered at once, its bytes when they are there: a server waits for both as long as it takes.
    let body = match *method == Method::HEAD {
        true => Body::empty(),
        false => stream(mirror, repository, &digest, part).await?,
    };
    let mut answer = (status, body).into_response();
    let said = answer.headers_mut();
    said.insert(CONTENT_LENGTH, length.into());
    said.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    said.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::try_from(range)
    {
        said.insert(CONTENT_RANGE, range);
    }
    Ok(answer)
}

async fn stream(
    mirror: &Mirror,
    repository: &Repository,
    digest: &Digest,
    part: std::ops::Range<u64>,
) -> Result<Body, Refused> {
    let reader = mirror.read(repository, digest, part).await?;
    // An error breaks the connection off, so that half a blob never looks whole.
    let pieces = unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(piece) => piece.map(|piece| (Ok(piece), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Body::from_stream(pieces))
}

/// Whether the client asks for the router under its second name, with its port.
fn is_asked_as(names: &Names, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| with_port(host, names.encrypted).eq_ignore_ascii_case(&names.blobs))
}

/// A port that is understood is left out by clients.
fn with_port(host: &str, encrypted: bool) -> String {
    let understood = if encrypted { 443 } else { 80 };
    match host.contains(':') {
        true => host.to_owned(),
        false => format!("{host}:{understood}"),
    }
}
