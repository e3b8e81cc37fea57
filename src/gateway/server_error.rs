//! What a server answered, or did not, that failed a request.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::backend::{Backend, ErrorAnswer};
use crate::clock;
use crate::faults::{Fault, Fingerprint};
use crate::protocol::{CONTENT_TYPE_JSON, Dialect, SaidError, error_body};
use crate::upstream::{AnswerBody, Failure};

/// An error body is kept up to this size, to be passed on if no other server helps.
const KEPT: usize = 64 << 10;

/// Why one server failed a request.
#[derive(Debug)]
pub enum ServerError {
    /// An answer with an error status.
    Answer(ErrorBody),
    /// No answer, or one that is not the client's.
    Nothing(Failure),
}

/// An answer with an error status.
#[derive(Debug)]
pub struct ErrorBody {
    /// Its status.
    pub status: StatusCode,
    /// What its body is.
    pub content_type: Option<HeaderValue>,
    /// When to come again, in seconds.
    pub retry_after: Option<u32>,
    /// As much of its body as is kept.
    pub body: Bytes,
}

impl From<SaidError> for ServerError {
    /// An answer with this status, as it would have been.
    fn from(said: SaidError) -> Self {
        Self::Answer(ErrorBody {
            status: said.status,
            content_type: Some(HeaderValue::from_static(CONTENT_TYPE_JSON)),
            retry_after: None,
            body: said.body,
        })
    }
}

impl ServerError {
    pub(super) async fn read(answer: Response<AnswerBody>) -> Self {
        let (head, body) = answer.into_parts();
        // What cannot be decoded cannot be said either.
        let body = match head.headers.contains_key(CONTENT_ENCODING) {
            true => Ok(Bytes::new()),
            false => beginning(body).await,
        };
        match body {
            Ok(body) => Self::Answer(ErrorBody {
                status: head.status,
                content_type: head.headers.get(CONTENT_TYPE).cloned(),
                retry_after: head.headers.get(RETRY_AFTER).and_then(seconds),
                body,
            }),
            // Half an answer is none.
            Err(failure) => Self::Nothing(failure),
        }
    }

    /// An error status and not a word.
    pub(super) fn silent(status: StatusCode) -> Self {
        Self::Answer(ErrorBody {
            status,
            content_type: None,
            retry_after: None,
            body: Bytes::new(),
        })
    }

    /// What it says of a server of this kind.
    pub(super) fn fault(&self, backend: &Backend) -> Fault {
        match self {
            Self::Answer(answer) => backend.fault(&ErrorAnswer {
                status: answer.status,
                retry_after: answer.retry_after.map(|s| Duration::from_secs(s.into())),
                body: &answer.body,
            }),
            Self::Nothing(failure) => failure.fault().unwrap_or(Fault::Broken),
        }
    }

    /// Without what a client must not see: a refusal between servers is none of its business, and may
    /// name a login of another system.
    pub(super) fn presentable(self, fault: Fault) -> Self {
        match fault {
            Fault::Rejected(_) => Self::Nothing(Failure::Unusable(format!("the server {fault}"))),
            _ => self,
        }
    }

    /// What an Ollama has said on a path of its own, as it would have said it on one of this dialect.
    pub(super) fn in_dialect(self, dialect: Dialect) -> Self {
        match self {
            Self::Answer(answer) if dialect != Dialect::Ollama => {
                let text = said(&answer.body);
                let said = text.map(|text| error_body(dialect, answer.status, &text));
                Self::Answer(ErrorBody {
                    body: said.unwrap_or(answer.body),
                    ..answer
                })
            }
            same => same,
        }
    }

    /// For the comparison with what other servers answer; `None` when it is about the server in any case.
    pub(super) fn fingerprint(&self, fault: Fault) -> Option<Fingerprint> {
        match (self, fault) {
            (Self::Answer(answer), Fault::Status) => {
                Fingerprint::of(answer.status.as_u16(), &answer.body)
            }
            _ => None,
        }
    }

    /// This one, or the former one, if only that was an answer: it says more to a client.
    pub(super) fn or_answer(self, former: Option<Self>) -> Self {
        match (self, former) {
            (Self::Nothing(_), Some(answer @ Self::Answer(_))) => answer,
            (this, _) => this,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Answer(answer) => answer.status,
            Self::Nothing(Failure::Silent) => StatusCode::GATEWAY_TIMEOUT,
            Self::Nothing(Failure::Loop) => StatusCode::LOOP_DETECTED,
            Self::Nothing(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The server's own answer, to be passed on unchanged.
    #[must_use]
    pub fn answer(&self) -> Option<&ErrorBody> {
        match self {
            Self::Answer(answer) if !answer.body.is_empty() => Some(answer),
            _ => None,
        }
    }

    pub(super) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Answer(answer) => answer.retry_after,
            Self::Nothing(_) => None,
        }
    }

    /// The value of the metric's label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Answer(answer) => match answer.status {
                StatusCode::NOT_FOUND => "not_found",
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "busy",
                _ => "status",
            },
            Self::Nothing(failure) => failure.label(),
        }
    }
}

/// The words of `{"error":"…"}`.
fn said(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    Some(said.error)
}

/// As much of a body as is kept.
async fn beginning(mut body: AnswerBody) -> Result<Bytes, Failure> {
    let mut kept = BytesMut::new();
    while kept.len() < KEPT {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| Failure::Closed(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            kept.extend_from_slice(&data);
        }
    }
    kept.truncate(KEPT);
    Ok(kept.freeze())
}

/// Seconds, or the time until a date (RFC 9110, 10.2.3).
fn seconds(value: &HeaderValue) -> Option<u32> {
    let text = value.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Some(text.parse().unwrap_or(u32::MAX));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let now = u64::try_from(clock::unix_seconds()).ok()?;
    u32::try_from(at.saturating_sub(now)).ok()
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => {
                let shown = &answer.body[..answer.body.len().min(200)];
                write!(
                    f,
                    "status {}: {}",
                    answer.status,
                    String::from_utf8_lossy(shown)
                )
            }
            Self::Nothing(failure) => failure.fmt(f),
        }
    }
}
