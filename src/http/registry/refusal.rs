//! Errors as a registry writes them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::http::json as rendered;
use crate::mirror::Error;

/// A refusal, and why.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    words: String,
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
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", words)
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
        }
    }

    /// Without words.
    pub(super) fn bare(self) -> Response {
        self.status.into_response()
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

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = json!({"code": self.code, "message": self.words});
        rendered(self.status, json!({ "errors": [error] }).to_string())
    }
}
