//! Responses, and reading a request's body.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;

use crate::go;
use crate::wire::Body;

use super::problem::Problem;

/// What gin calls JSON.
pub const JSON: &str = "application/json; charset=utf-8";
/// Lines of JSON.
pub const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain; charset=utf-8";
/// More than this is refused; a simulator's user has no larger prompt.
const MAX_BODY: usize = 1 << 30;

/// A response with a body of this type.
pub fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with this value.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Response<Body> {
    json_as(StatusCode::OK, value)
}

/// This status with this value.
pub fn json_as<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response<Body> {
    respond(status, JSON, Body::whole(go::to_vec(value)))
}

/// This status with this text.
pub fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(
        status,
        TEXT,
        Body::whole(Bytes::from_static(text.as_bytes())),
    )
}

/// This status and nothing else.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The model that is meant: `model`, or `name`, where older clients have it. An empty one is absent.
pub fn meant(model: String, name: String) -> String {
    if model.is_empty() { name } else { model }
}

/// The whole body, without a copy when it came in one piece.
pub async fn read(mut body: Incoming) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("unexpected EOF"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if rest.len() > MAX_BODY {
            return Err(Problem::bad_request("http: request body too large"));
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// The object in a body; `name` is what Go calls its type.
pub fn parse<T: serde::de::DeserializeOwned>(body: &[u8], name: &str) -> Result<T, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::bad_request("missing request body"));
    }
    go::read(body, name).map_err(|error| match error.path.strip_prefix("options.") {
        // They are read last, by code that checks each for itself.
        Some(option) => Problem::internal(format!(
            "option {option:?} must be of type {}",
            match error.wanted.as_str() {
                "int" => "integer",
                "bool" => "boolean",
                other => other,
            }
        )),
        None => Problem::bad_request(error.text),
    })
}
