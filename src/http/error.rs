//! Every refusal, in the form of the client's dialect. The one place that maps errors to
//! responses.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use super::body::BodyError;
use crate::access::Refused;
use crate::gateway::{self, ErrorBody};
use crate::protocol::{CONTENT_TYPE_JSON, Dialect, error_body, quota_body, shaped_error};

/// A refusal, and the dialect of its reader.
pub(super) struct Refusal {
    dialect: Dialect,
    cause: Cause,
    id: Option<HeaderValue>,
}

enum Cause {
    Gateway(gateway::Error),
    Body(BodyError),
    Said(StatusCode, String),
}

impl Refusal {
    pub(super) fn gateway(dialect: Dialect, error: gateway::Error, id: HeaderValue) -> Self {
        Self {
            dialect: match error {
                // Ollama refuses it before it looks at the path.
                gateway::Error::NoCloud(_) => Dialect::Ollama,
                _ => dialect,
            },
            cause: Cause::Gateway(error),
            id: Some(id),
        }
    }

    pub(super) fn body(dialect: Dialect, error: BodyError, id: HeaderValue) -> Self {
        Self {
            dialect,
            cause: Cause::Body(error),
            id: Some(id),
        }
    }

    /// For a body that is not about inference.
    pub(super) fn small_body(error: BodyError) -> Self {
        Self {
            dialect: Dialect::Ollama,
            cause: Cause::Body(error),
            id: None,
        }
    }

    /// For what is not about inference.
    pub(super) fn new(dialect: Dialect, status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            dialect,
            cause: Cause::Said(status, text.into()),
            id: None,
        }
    }

    pub(super) fn ollama(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(Dialect::Ollama, status, text)
    }

    /// For what has passed this router already.
    pub(super) fn looped(dialect: Dialect) -> Self {
        let text = "loop: this request has passed this router already";
        Self::new(dialect, StatusCode::LOOP_DETECTED, text)
    }

    pub(super) fn openai(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(Dialect::OpenAi, status, text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        let request = self.id.as_ref().and_then(|id| id.to_str().ok());
        if let Some(id) = &self.id {
            headers.insert("x-request-id", id.clone());
        }
        let (status, text) = match self.cause {
            Cause::Gateway(gateway::Error::Exhausted(said)) if said.answer().is_some() => {
                let Some(answer) = said.answer() else {
                    return StatusCode::BAD_GATEWAY.into_response();
                };
                return servers_own(self.dialect, answer, headers, request);
            }
            Cause::Gateway(gateway::Error::Refused(refused)) => {
                return denied(self.dialect, &refused, headers, request);
            }
            Cause::Gateway(error) => {
                if let Some(seconds) = error.retry_after() {
                    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
                }
                (error.status(), error.to_string())
            }
            Cause::Body(error) => {
                if let Some(seconds) = error.retry_after() {
                    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
                }
                (error.status(), error.to_string())
            }
            Cause::Said(status, text) => (status, text),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_JSON));
        let body = error_body(self.dialect, status, &text, request);
        (status, headers, body).into_response()
    }
}

/// A server's own error: as it came, where that is in the dialect of its reader.
fn servers_own(
    dialect: Dialect,
    answer: &ErrorBody,
    mut headers: HeaderMap,
    request: Option<&str>,
) -> Response {
    let json = HeaderValue::from_static(CONTENT_TYPE_JSON);
    let (kind, body) = match shaped_error(dialect, answer.status, &answer.body, request) {
        Some(shaped) => (json, shaped),
        None => (
            answer.content_type.clone().unwrap_or(json),
            answer.body.clone(),
        ),
    };
    headers.insert(CONTENT_TYPE, kind);
    let busy = (answer.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
    if let Some(seconds) = answer.retry_after.or(busy) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    (answer.status, headers, body).into_response()
}

fn denied(
    dialect: Dialect,
    refused: &Refused,
    mut headers: HeaderMap,
    request: Option<&str>,
) -> Response {
    let (status, text) = (refused.status(), refused.to_string());
    if let Some(seconds) = refused.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let body = if refused.is_final() {
        // OpenAI's and Anthropic's clients try 429 again by themselves unless told not to.
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
        quota_body(dialect, status, &text, request)
    } else {
        error_body(dialect, status, &text, request)
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_JSON));
    (status, headers, body).into_response()
}
