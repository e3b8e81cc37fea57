//! What a server answered, or did not, that failed a request.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::backend::{Backend, ErrorAnswer};
use crate::clock;
use crate::faults::{Fault, Fingerprint};
use crate::protocol::{CONTENT_TYPE_JSON, SaidError, error_text};
use crate::upstream::{AnswerBody, Failure};

/// An error body is kept up to this size, to be passed on if no other server helps.
const KEPT: usize = 64 << 10;
/// What an error says comes with its status, or soon: the request has other servers to try.
pub(super) const SAID_WITHIN: Duration = Duration::from_secs(1);

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
    /// It did not break off, nor was it too long in coming: what is there of it says something.
    pub is_whole: bool,
}

impl ServerError {
    /// What an answer with status 200 has said in its place, as it would have been with a status of its own. What its head
    /// says of the time counts.
    pub(super) fn said(said: SaidError, headers: &HeaderMap) -> Self {
        Self::Answer(ErrorBody {
            status: said.status,
            content_type: Some(HeaderValue::from_static(CONTENT_TYPE_JSON)),
            retry_after: headers.get(RETRY_AFTER).and_then(seconds),
            body: said.body,
            is_whole: true,
        })
    }

    /// The status counts however the body ends.
    pub(super) async fn read(answer: Response<AnswerBody>) -> Self {
        let (head, body) = answer.into_parts();
        // What cannot be decoded cannot be said either.
        let (body, is_whole) = match head.headers.contains_key(CONTENT_ENCODING) {
            true => (Bytes::new(), true),
            false => beginning(body).await,
        };
        Self::Answer(ErrorBody {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            retry_after: head.headers.get(RETRY_AFTER).and_then(seconds),
            body,
            is_whole,
        })
    }

    /// An error status and not a word.
    pub(super) fn silent(status: StatusCode) -> Self {
        Self::Answer(ErrorBody {
            status,
            content_type: None,
            retry_after: None,
            body: Bytes::new(),
            is_whole: true,
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

    /// An answer that is there as a whole.
    pub(super) fn whole(answer: Response<Bytes>) -> Self {
        let (head, body) = answer.into_parts();
        Self::Answer(ErrorBody {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            retry_after: head.headers.get(RETRY_AFTER).and_then(seconds),
            body,
            is_whole: true,
        })
    }

    /// For the comparison with what other servers answer, in whatever form; `None` when it is about the server in any
    /// case, or half of something.
    pub(super) fn fingerprint(&self, fault: Fault) -> Option<Fingerprint> {
        match (self, fault) {
            (Self::Answer(answer), Fault::Status) if answer.is_whole => {
                let text = error_text(&answer.body);
                Fingerprint::of(answer.status.as_u16(), text.as_bytes())
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

    /// The server's own answer, to be passed on in the form of its path.
    #[must_use]
    pub fn answer(&self) -> Option<&ErrorBody> {
        match self {
            Self::Answer(answer) if answer.is_whole && !answer.body.is_empty() => Some(answer),
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

/// As much of a body as is kept, and whether it is there.
async fn beginning(mut body: AnswerBody) -> (Bytes, bool) {
    let mut kept = BytesMut::new();
    let read = async {
        while kept.len() < KEPT {
            match body.frame().await {
                None => break,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => kept.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
        true
    };
    let is_whole = timeout(SAID_WITHIN, read).await.unwrap_or(false);
    kept.truncate(KEPT);
    (kept.freeze(), is_whole)
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
