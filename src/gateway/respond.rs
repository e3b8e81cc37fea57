//! The head of an answer: the server's, with the router's own headers added.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;

use super::meters::Meter;
use crate::fleet::Endpoint;
use crate::protocol::Format;
use crate::upstream::strip_response;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static ENDPOINT: HeaderName = HeaderName::from_static("x-herdsman-endpoint");
static ATTEMPTS: HeaderName = HeaderName::from_static("x-herdsman-attempts");
static QUEUE_MS: HeaderName = HeaderName::from_static("x-herdsman-queue-ms");
static ROUTE: HeaderName = HeaderName::from_static("x-herdsman-route");

/// How a request came to its server.
pub(super) struct Route<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) attempt: u32,
    pub(super) meter: &'a Meter,
}

/// Makes the head the client gets, and reads from it how the body is framed.
pub(super) fn head(mut head: Parts, id: &HeaderValue, route: &Route<'_>) -> (Parts, Format) {
    strip_response(&mut head.headers);
    let format = format_of(&head.headers);
    let headers = &mut head.headers;
    headers.insert(&REQUEST_ID, id.clone());
    if let Ok(name) = HeaderValue::from_str(route.endpoint.name()) {
        headers.insert(&ENDPOINT, name);
    }
    headers.insert(&ATTEMPTS, HeaderValue::from(route.attempt));
    headers.insert(&QUEUE_MS, milliseconds(route.meter.queued()));
    if let Some(taken) = route.meter.route() {
        headers.insert(&ROUTE, HeaderValue::from_static(taken));
    }
    (head, format)
}

fn milliseconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// How a body with these headers is cut into pieces.
pub(super) fn format_of(headers: &HeaderMap) -> Format {
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    if kind.starts_with(b"application/x-ndjson") {
        Format::Ndjson
    } else if kind.starts_with(b"text/event-stream") {
        Format::Sse
    } else {
        Format::Json
    }
}
