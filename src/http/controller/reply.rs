//! Answers and errors as DB-GPT's controllers give them: `{"detail": …}`.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::json;
use crate::registrar::Refused;
use crate::store::MAX_INSTANCES;

/// What a call gives.
pub(super) type Answer = Result<Response, Problem>;

/// Why it was not done.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    detail: Value,
}

/// JSON of `value`.
pub(super) fn of(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    json(StatusCode::OK, body)
}

/// An error that says why.
pub(super) fn detail(status: StatusCode, text: &str) -> Problem {
    let detail = json!(text);
    Problem { status, detail }
}

/// What was sent cannot be used: what of it, and why.
pub(super) fn unprocessable(of: &[&str], why: &str) -> Problem {
    Problem {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        detail: json!([{"loc": of, "msg": why, "type": "value_error"}]),
    }
}

/// There is no room for one more.
pub(super) fn full() -> Problem {
    let text = format!(
        "there are {MAX_INSTANCES} registrations, and that is the most there may be: an hour after the last sign of one it is \
         taken out"
    );
    detail(StatusCode::INSUFFICIENT_STORAGE, &text)
}

/// It was not written; it may be later.
impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        detail(StatusCode::SERVICE_UNAVAILABLE, &refused.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "detail": self.detail }).to_string();
        let mut answer = json(self.status, body);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            answer.headers_mut().insert(RETRY_AFTER, soon);
        }
        answer
    }
}
