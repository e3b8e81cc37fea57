//! `/v1/audio/transcriptions`, as far as a model that hears nothing answers it.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use hyper::body::Incoming;

use crate::answer::Family;
use crate::node::Node;
use crate::wire::Body;

use super::check::ENGINE_NO_IMAGE;
use super::infer::find;
use super::problem::Problem;
use super::reply::read;

pub async fn transcribe(node: &Node, headers: &HeaderMap, body: Incoming) -> Response<Body> {
    refuse(node, headers, body).await.respond(Family::OpenAi)
}

async fn refuse(node: &Node, headers: &HeaderMap, body: Incoming) -> Problem {
    let body = match read(body).await {
        Ok(body) => body,
        Err(problem) => return problem,
    };
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let boundary = kind
        .and_then(|kind| kind.split_once("boundary="))
        .map(|(_, own)| own);
    let text = String::from_utf8_lossy(&body);
    let separator = format!("--{}\r\n", boundary.unwrap_or_default());
    let mut parts = text.split(&separator);
    if boundary.is_none() || parts.next().is_none_or(|preamble| !preamble.is_empty()) {
        return Problem::bad_request("failed to parse multipart form: multipart: NextPart: EOF");
    }
    let model = parts
        .find(|part| part.contains("name=\"model\""))
        .and_then(|part| part.split_once("\r\n\r\n"))
        .map_or("", |(_, value)| value.trim());
    match find(node, model) {
        Some(_) => Problem::internal(ENGINE_NO_IMAGE),
        None => Problem::no_model(model),
    }
}
