//! The head of an answer: the server's, with the router's own headers added.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::response::Parts;

use super::meters::Meter;
use crate::fleet::Endpoint;
use crate::protocol::{Format, Instance, PASSED, routers};
use crate::upstream::strip_response;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static ENDPOINT: HeaderName = HeaderName::from_static("x-herdsman-endpoint");
static ATTEMPTS: HeaderName = HeaderName::from_static("x-herdsman-attempts");
static QUEUE_MS: HeaderName = HeaderName::from_static("x-herdsman-queue-ms");
static ROUTE: HeaderName = HeaderName::from_static("x-herdsman-route");
static MODEL: HeaderName = HeaderName::from_static("x-herdsman-model");

/// How a request reached its server.
pub(super) struct Route<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) attempt: u32,
    pub(super) meter: &'a Meter,
    pub(super) instance: &'a Instance,
    /// What its alias stood for.
    pub(super) alias_of: Option<&'a str>,
}

/// Makes the head the client gets with a body of this format.
pub(super) fn head(mut head: Parts, format: Format, id: &HeaderValue, route: &Route<'_>) -> Parts {
    strip_response(&mut head.headers);
    let headers = &mut head.headers;
    if format != Format::Json {
        // A stream may lose an event, or get one more when it breaks; and the end of what is not read is that of
        // the body, which has to wait until its usage is written down.
        headers.remove(CONTENT_LENGTH);
    }
    let passed = route.instance.before(routers(headers).as_deref());
    headers.insert(&PASSED, passed);
    headers.insert(&REQUEST_ID, id.clone());
    if let Some(name) = route.endpoint.header() {
        headers.insert(&ENDPOINT, name.clone());
    }
    headers.insert(&ATTEMPTS, number(route.attempt.into()));
    let queued = u64::try_from(route.meter.queued().as_millis());
    headers.insert(&QUEUE_MS, number(queued.unwrap_or(u64::MAX)));
    if let Some(Ok(model)) = route.alias_of.map(HeaderValue::from_str) {
        headers.insert(&MODEL, model);
    }
    if let Some(taken) = route.meter.route() {
        headers.insert(&ROUTE, HeaderValue::from_static(taken));
    }
    head
}

/// The most frequent numbers need no memory.
fn number(number: u64) -> HeaderValue {
    match number {
        0 => HeaderValue::from_static("0"),
        1 => HeaderValue::from_static("1"),
        _ => HeaderValue::from(number),
    }
}
