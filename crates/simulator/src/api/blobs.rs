//! Blobs: uploaded by content, checked by digest, never read back.

use std::future::pending;
use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use crate::answer::Family;
use crate::fault::{Fault, Stage};
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
    let full = match node.faults.take(Stage::Disk, None) {
        Some(Fault::DiskFull { after }) => after,
        _ => u64::MAX,
    };
    let stalled = match node.faults.take(Stage::Upload, None) {
        Some(Fault::StallUpload { after }) => after,
        _ => u64::MAX,
    };
    let mut body = body;
    let (mut hash, mut read) = (Sha256::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Problem::internal("unexpected EOF").respond(Family::Ollama);
        };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
            read += data.len() as u64;
        }
        if read > full {
            drain(&mut body).await;
            return Problem::internal(no_space(&digest)).respond(Family::Ollama);
        }
        if read > stalled {
            pending::<()>().await;
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

/// Reads a little more of a body that is not wanted, as Go does, so that its client reads the answer.
async fn drain(body: &mut Incoming) {
    let mut left = 256 << 10;
    while let (true, Some(Ok(frame))) = (left > 0, body.frame().await) {
        left -= i64::try_from(frame.data_ref().map_or(0, bytes::Bytes::len)).unwrap_or(left);
    }
}

/// The system's words, with a path of the server.
pub fn no_space(digest: &str) -> String {
    let file = digest.replace(':', "-");
    format!("write /models/blobs/{file}: no space left on device")
}

/// `sha256:` or `sha256-` and 64 hex digits.
pub fn canonical(digest: &str) -> Option<String> {
    let hex = digest
        .strip_prefix("sha256:")
        .or_else(|| digest.strip_prefix("sha256-"))?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| format!("sha256:{}", hex.to_ascii_lowercase()))
}
