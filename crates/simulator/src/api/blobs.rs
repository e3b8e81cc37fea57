//! Blobs: uploaded by content, checked by digest, never read back.

use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use crate::answer::Family;
use crate::model::hex;
use crate::node::Node;
use crate::wire::Body;

use super::problem::Problem;
use super::reply::empty;

pub fn head(node: &Node, digest: &str) -> Response<Body> {
    match canonical(digest) {
        None => empty(StatusCode::BAD_REQUEST),
        Some(digest) if node.blob_store.blobs.contains_key(&digest) => empty(StatusCode::OK),
        Some(_) => empty(StatusCode::NOT_FOUND),
    }
}

pub async fn post(node: &Arc<Node>, digest: &str, body: Incoming) -> Response<Body> {
    let Some(digest) = canonical(digest) else {
        return Problem::bad_request("invalid digest format").respond(Family::Ollama);
    };
    if node.blob_store.blobs.contains_key(&digest) {
        return empty(StatusCode::OK);
    }
    let mut body = body;
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Problem::internal("unexpected EOF").respond(Family::Ollama);
        };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
        }
    }
    let got = format!("sha256:{}", hex(&hash.finalize()));
    if got != digest {
        let text = format!("digest mismatch, expected {digest:?}, got {got:?}");
        return Problem::bad_request(text).respond(Family::Ollama);
    }
    node.blob_store.blobs.insert(digest, ());
    empty(StatusCode::CREATED)
}

/// `sha256:` or `sha256-` and 64 hex digits.
pub fn canonical(digest: &str) -> Option<String> {
    let hex = digest
        .strip_prefix("sha256:")
        .or_else(|| digest.strip_prefix("sha256-"))?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| format!("sha256:{}", hex.to_ascii_lowercase()))
}
