//! What is answered when something cannot be done: status and text first, the dialect last.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::answer::Family;
use crate::scheduler::Refusal;
use crate::wire::Body;

use super::reply::json_as;

/// An error with Ollama's status and Ollama's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    text: Cow<'static, str>,
    /// With these headers the text is the whole body.
    verbatim: Option<Vec<(String, String)>>,
}

impl Problem {
    pub fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            verbatim: None,
        }
    }

    /// Nothing of a dialect's.
    pub fn verbatim(status: u16, headers: &[(String, String)], body: &str) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            text: body.to_owned().into(),
            verbatim: Some(headers.to_vec()),
        }
    }

    pub fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub fn internal(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// As chat, generate, show and delete report it.
    pub fn no_model(spelling: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("model '{spelling}' not found"),
        )
    }

    /// In the format of the path that was asked.
    pub fn respond(&self, family: Family) -> Response<Body> {
        if let Some(headers) = &self.verbatim {
            return self.as_it_is(headers);
        }
        match family {
            Family::Ollama => json_as(self.status, &Ollama { error: &self.text }),
            Family::OpenAi => {
                let error = OpenAiError {
                    message: &self.text,
                    kind: match self.status {
                        StatusCode::BAD_REQUEST => "invalid_request_error",
                        StatusCode::NOT_FOUND => "not_found_error",
                        _ => "api_error",
                    },
                    param: (),
                    code: (),
                };
                json_as(self.status, &OpenAi { error })
            }
            Family::Anthropic => {
                let error = AnthropicError {
                    kind: match self.status.as_u16() {
                        400 => "invalid_request_error",
                        404 => "not_found_error",
                        429 => "rate_limit_error",
                        503 | 529 => "overloaded_error",
                        _ => "api_error",
                    },
                    message: &self.text,
                };
                json_as(
                    self.status,
                    &Anthropic {
                        kind: "error",
                        error,
                        request_id: "req_0",
                    },
                )
            }
        }
    }
}

impl Problem {
    fn as_it_is(&self, headers: &[(String, String)]) -> Response<Body> {
        let mut response = Response::new(Body::whole(self.text.as_bytes().to_vec()));
        *response.status_mut() = self.status;
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server busy, please try again.  maximum pending requests exceeded",
            ),
            Refusal::LoadFailed => Self::internal(
                "model failed to load, this may be due to resource limitations or an internal \
                 error, check ollama server logs for details",
            ),
            // It is not read: the client left, or the server stops.
            Refusal::Closed => Self::new(
                StatusCode::from_u16(499).unwrap_or_default(),
                "request canceled",
            ),
        }
    }
}

#[derive(Serialize)]
struct Ollama<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: (),
    code: (),
}

#[derive(Serialize)]
struct Anthropic<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError<'a>,
    request_id: &'static str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}
