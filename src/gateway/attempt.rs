//! One try on one server, up to the first byte of its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::respond::format_of;
use super::{Error, Gateway};
use crate::fleet::{Endpoint, Fault, Lease, Outcome, Seat};
use crate::protocol::{Api, Format, Tail};
use crate::upstream::{AnswerBody, Failure};
use crate::usage::Usage;

/// An error body of a server's is kept up to this size, to be passed on if no other server helps.
const KEPT: usize = 64 << 10;
/// An answer that is not streamed is read whole up to about this size before it is passed on.
const KEPT_WHOLE: usize = 256 << 10;

/// What is sent, the same to every server.
pub(super) struct Request {
    pub(super) api: Api,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The server being asked, with a slot of it, or, for questions that need none, without.
#[derive(Debug)]
pub(super) struct Slot {
    endpoint: Arc<Endpoint>,
    lease: Option<Lease>,
    usage: Usage,
}

/// How a try went.
pub(super) enum Try {
    /// The answer has begun.
    Answered {
        head: Parts,
        first: Option<Bytes>,
        body: AnswerBody,
    },
    /// Another server may do better.
    Elsewhere { fault: Fault, said: Said },
    /// No other server shall be asked.
    Over(Error),
}

/// What a server that failed a request had to say.
#[derive(Debug)]
pub enum Said {
    /// An answer with an error status.
    Answer(StatusCode, Option<http::HeaderValue>, Bytes),
    /// Nothing.
    Nothing(Failure),
}

impl Gateway {
    pub(super) async fn attempt(&self, slot: &Slot, request: &Request) -> Try {
        let deadline = Instant::now() + self.rules.first_byte_timeout;
        let ejected = slot.ejected();
        tokio::select! {
            biased;
            began = timeout_at(deadline, self.begin(slot.endpoint(), request)) => {
                began.unwrap_or(Try::Over(Error::Silent))
            }
            () = ejected.cancelled() => Try::elsewhere(Failure::Ejected),
            () = self.cutting.cancelled() => Try::Over(Error::Closing),
        }
    }

    async fn begin(&self, endpoint: &Endpoint, request: &Request) -> Try {
        let Request { api, headers, body } = request;
        let answer = self.client.call(endpoint.target(), *api, headers, body);
        let answer = answer.await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Try::elsewhere(failure),
        };
        match fault_of(answer.status()) {
            Some(fault) => Try::Elsewhere {
                fault,
                said: Box::pin(Said::read(answer)).await,
            },
            None => first_byte(request.api, answer, self.rules.idle_timeout).await,
        }
    }
}

/// The statuses that another server may not give. Not 400: the request itself is wrong.
fn fault_of(status: StatusCode) -> Option<Fault> {
    match status.as_u16() {
        404 => Some(Fault::Missing),
        429 | 503 => Some(Fault::Busy),
        // 499 is Ollama's own, when a load was aborted; not our client, which is still here.
        499..=599 => Some(Fault::Status),
        _ => None,
    }
}

/// A head is not an answer yet: a server that dies behind it has given the client nothing.
///
/// An answer that is not streamed is worth nothing to its client before it is whole, so a short one
/// is read whole here: whatever breaks it, another server can still give a whole one.
async fn first_byte(api: Api, answer: Response<AnswerBody>, idle: Duration) -> Try {
    let (head, mut body) = answer.into_parts();
    if !head.status.is_success() || body.is_end_stream() {
        return Try::Answered {
            head,
            first: None,
            body,
        };
    }
    let first = match piece(&mut body).await {
        Ok(Some(first)) => first,
        Ok(None) => return Try::elsewhere(Failure::Closed("empty answer".to_owned())),
        Err(failure) => return Try::elsewhere(failure),
    };
    let first = if format_of(&head.headers) == Format::Json && !body.is_end_stream() {
        let framed = is_framed(&head.headers);
        match Box::pin(gathered(api, first, &mut body, framed, idle)).await {
            Ok(first) => first,
            Err(failure) => return Try::elsewhere(failure),
        }
    } else {
        first
    };
    Try::Answered {
        head,
        first: Some(first),
        body,
    }
}

/// The pieces of an answer that is not streamed, as far as one is kept whole.
async fn gathered(
    api: Api,
    mut first: Bytes,
    body: &mut AnswerBody,
    framed: bool,
    idle: Duration,
) -> Result<Bytes, Failure> {
    while !body.is_end_stream() && first.len() < KEPT_WHOLE {
        match timeout(idle, piece(body)).await {
            Ok(Ok(Some(more))) => first = joined(&first, &more),
            Ok(Ok(None)) if framed || is_whole(api, &first) => break,
            Ok(Ok(None)) => return Err(Failure::Closed(HALF.to_owned())),
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(Failure::Silent),
        }
    }
    Ok(first)
}

const HALF: &str = "half an answer";

/// Whether the end of the body says that it is whole. Without a length or chunks the end of the
/// connection is all there is, and a server that dies ends it too.
fn is_framed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

fn is_whole(api: Api, answer: &[u8]) -> bool {
    let mut tail = Tail::new(api, false);
    tail.push(answer);
    tail.is_finished()
}

/// The next bytes; `None` at the end.
async fn piece(body: &mut AnswerBody) -> Result<Option<Bytes>, Failure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::Closed(error.to_string())),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                // Trailers: nothing follows them.
                Err(_) => return Ok(None),
            },
        }
    }
}

fn joined(first: &Bytes, more: &Bytes) -> Bytes {
    let mut joined = BytesMut::with_capacity(first.len() + more.len());
    joined.extend_from_slice(first);
    joined.extend_from_slice(more);
    joined.freeze()
}

// === impl Slot ===

impl Slot {
    pub(super) fn leased(lease: Lease, usage: &Usage) -> Self {
        usage.touched();
        Self {
            endpoint: Arc::clone(lease.endpoint()),
            lease: Some(lease),
            usage: usage.clone(),
        }
    }

    pub(super) fn none(endpoint: Arc<Endpoint>, usage: &Usage) -> Self {
        Self {
            endpoint,
            lease: None,
            usage: usage.clone(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The seat, if there is a slot.
    pub(super) fn seat(&self) -> Option<&Arc<Seat>> {
        self.lease.as_ref().map(Lease::seat)
    }

    /// The answer has begun.
    pub(super) fn first_byte(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.first_byte();
        }
    }

    /// Says how it ended; without this the client has left.
    pub(super) fn end(mut self, outcome: Outcome) {
        if let Some(lease) = self.lease.take() {
            lease.end(outcome);
        }
    }

    fn ejected(&self) -> CancellationToken {
        self.endpoint.ejected()
    }
}

impl Drop for Slot {
    /// First the count, then the news of it.
    fn drop(&mut self) {
        drop(self.lease.take());
        self.usage.touched();
    }
}

// === impl Try ===

impl Try {
    fn elsewhere(failure: Failure) -> Self {
        if let Failure::Local(what) = failure {
            return Self::Over(Error::Exhaustion(what));
        }
        let fault = match failure {
            Failure::Refused(_) | Failure::ConnectTimeout => Fault::Unreachable,
            Failure::Silent => Fault::Silent,
            _ => Fault::Broken,
        };
        Self::Elsewhere {
            fault,
            said: Said::Nothing(failure),
        }
    }
}

// === impl Said ===

impl Said {
    async fn read(answer: Response<AnswerBody>) -> Self {
        let (head, body) = answer.into_parts();
        let kind = head.headers.get(http::header::CONTENT_TYPE).cloned();
        let body = http_body_util::Limited::new(body, KEPT).collect().await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Self::Answer(head.status, kind, body)
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Answer(status, ..) => *status,
            Self::Nothing(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The server's own answer, to be passed on unchanged.
    #[must_use]
    pub fn answer(&self) -> Option<(StatusCode, Option<&http::HeaderValue>, &Bytes)> {
        match self {
            Self::Answer(status, kind, body) if !body.is_empty() => {
                Some((*status, kind.as_ref(), body))
            }
            _ => None,
        }
    }

    /// A short word for a label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Answer(StatusCode::NOT_FOUND, ..) => "not_found",
            Self::Answer(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, ..) => {
                "busy"
            }
            Self::Answer(..) => "status",
            Self::Nothing(failure) => failure.label(),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(status, _, body) => {
                write!(
                    f,
                    "status {status}: {}",
                    String::from_utf8_lossy(&body[..body.len().min(200)])
                )
            }
            Self::Nothing(failure) => failure.fmt(f),
        }
    }
}
