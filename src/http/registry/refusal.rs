//! Errors as a registry writes them.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::http::json as rendered;
use crate::mirror::Error;

/// A refusal, and why.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    words: String,
    /// How long the blob is of which a part was asked for that is none.
    size: Option<u64>,
}

impl Refused {
    pub(super) fn unknown(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", words)
    }

    pub(super) fn denied(words: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", words)
    }

    pub(super) fn method() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "UNSUPPORTED", "this registry can only be read")
    }

    pub(super) fn range(size: u64) -> Self {
        let words = format!("no such part of a blob of {size} bytes");
        Self {
            size: Some(size),
            ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", words)
        }
    }

    pub(super) fn digest() -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "DIGEST_INVALID", "no digest of a blob")
    }

    fn new(status: StatusCode, code: &'static str, words: impl Into<String>) -> Self {
        Self {
            status,
            code,
            words: words.into(),
            size: None,
        }
    }

    /// The answer to a request with these headers: without words to one for a part, because Ollama writes the body of
    /// whatever answers that into the file.
    pub(super) fn answer(self, asked: &HeaderMap) -> Response {
        let Self { status, size, .. } = self;
        let mut answer = match asked.contains_key(RANGE) {
            true => status.into_response(),
            false => {
                let error = json!({"code": self.code, "message": self.words});
                rendered(status, json!({ "errors": [error] }).to_string())
            }
        };
        let range = size.map(|size| HeaderValue::try_from(format!("bytes */{size}")));
        if let Some(Ok(range)) = range {
            answer.headers_mut().insert(CONTENT_RANGE, range);
        }
        answer
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let (status, code) = match error {
            Error::NotThere => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Error::Unknown(_) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Error::Busy(_) | Error::Interrupted => {
                (StatusCode::SERVICE_UNAVAILABLE, "TOOMANYREQUESTS")
            }
            Error::NoRoom { .. } | Error::TooLarge { .. } | Error::Disk(_) => {
                (StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN")
            }
            _ => (StatusCode::BAD_GATEWAY, "UNKNOWN"),
        };
        Self::new(status, code, error.to_string())
    }
}
