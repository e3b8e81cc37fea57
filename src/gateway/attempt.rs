//! One try on one server, up to the first byte of its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::relay::Reading;
use super::respond::format_of;
use super::{Error, Gateway};
use crate::backend::{Backend, ClientRequest, Fault, Outgoing, Verdict};
use crate::fleet::{Endpoint, Lease, Outcome, Settings, SlotPool};
use crate::protocol::{Format, Tail};
use crate::upstream::{AnswerBody, Failure};
use crate::usage::Usage;

/// An error body of a server's is kept up to this size, to be passed on if no other server helps.
const KEPT: usize = 64 << 10;
/// An answer that is not streamed is read whole up to about this size before it is passed on.
const KEPT_WHOLE: usize = 256 << 10;

/// The server being tried, with a slot of it, or, for requests that need none, without.
#[derive(Debug)]
pub(super) struct Slot {
    endpoint: Arc<Endpoint>,
    /// What was wanted of it when the slot was given.
    settings: Arc<Settings>,
    lease: Option<Lease>,
    usage: Usage,
}

/// The beginning of an answer.
pub(super) struct Began {
    pub(super) head: Parts,
    pub(super) reading: Reading,
}

/// Why a try got no answer.
pub(super) enum Stopped {
    /// Another server may do better.
    Failover {
        fault: Fault,
        server_error: ServerError,
    },
    /// No other server shall be tried.
    Over(Error),
}

/// How a try went.
pub(super) type Try = Result<Began, Stopped>;

/// What a server answered that failed a request.
#[derive(Debug)]
pub enum ServerError {
    /// An answer with an error status.
    Answer(StatusCode, Option<http::HeaderValue>, Bytes),
    /// No answer.
    Nothing(Failure),
}

impl Gateway {
    pub(super) async fn attempt(&self, slot: &Slot, request: &ClientRequest) -> Try {
        let deadline = Instant::now() + self.rules.first_byte_timeout;
        let ejected = slot.ejected();
        tokio::select! {
            biased;
            began = timeout_at(deadline, self.begin(slot, request)) => {
                began.unwrap_or(Err(Stopped::Over(Error::Silent)))
            }
            () = ejected.cancelled() => Err(Stopped::by(Failure::Ejected)),
            () = self.cutting.cancelled() => Err(Stopped::Over(Error::Closing)),
        }
    }

    async fn begin(&self, slot: &Slot, request: &ClientRequest) -> Try {
        let backend = &slot.settings.backend;
        let spelling = slot.pool().map(|pool| pool.spelling());
        let spelling = spelling
            .as_ref()
            .map_or(&*request.model, |spelling| &***spelling);
        let outgoing = backend.request(request, spelling);
        let Outgoing {
            api, headers, body, ..
        } = &outgoing;
        let remote = slot.endpoint.remote(&slot.settings);
        let answer = self.client.infer(&remote, *api, headers, body).await;
        let answer = answer.map_err(Stopped::by)?;
        match backend.verdict(answer.status()) {
            Verdict::Failover(fault) => Err(Stopped::Failover {
                fault,
                server_error: Box::pin(ServerError::read(answer)).await,
            }),
            Verdict::Pass => {
                let idle = self.rules.idle_timeout;
                first_byte(backend, &outgoing, answer, idle).await
            }
        }
    }
}

/// A head is not an answer yet: a server that fails after it has given the client nothing.
///
/// An answer that is not streamed is worth nothing to its client before it is whole, so a short one
/// is read whole here: whatever breaks it, another server can still give a whole one.
async fn first_byte(
    backend: &Backend,
    sent: &Outgoing<'_>,
    answer: Response<AnswerBody>,
    idle: Duration,
) -> Try {
    let (head, body) = answer.into_parts();
    let format = format_of(&head.headers);
    let mut reading = Reading {
        first: None,
        body,
        tail: backend.reader(sent.api, format != Format::Json),
        hides_usage: sent.hides_usage,
    };
    if !head.status.is_success() || reading.body.is_end_stream() {
        return Ok(Began { head, reading });
    }
    let first = piece(&mut reading.body).await.map_err(Stopped::by)?;
    let empty = || Stopped::by(Failure::Closed("empty answer".to_owned()));
    let mut first = first.ok_or_else(empty)?;
    if format == Format::Json && !reading.body.is_end_stream() {
        let framed = is_framed(&head.headers);
        let gathered = Box::pin(gathered(&mut reading, first, framed, idle)).await;
        first = gathered.map_err(Stopped::by)?;
    }
    reading.first = Some(first);
    Ok(Began { head, reading })
}

/// The pieces of an answer that is not streamed, as far as one is kept whole.
async fn gathered(
    reading: &mut Reading,
    mut first: Bytes,
    framed: bool,
    idle: Duration,
) -> Result<Bytes, Failure> {
    let body = &mut reading.body;
    while !body.is_end_stream() && first.len() < KEPT_WHOLE {
        match timeout(idle, piece(body)).await {
            Ok(Ok(Some(more))) => first = joined(&first, &more),
            Ok(Ok(None)) if framed || is_whole(&reading.tail, &first) => break,
            Ok(Ok(None)) => return Err(Failure::Closed(HALF.to_owned())),
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(Failure::Silent),
        }
    }
    Ok(first)
}

const HALF: &str = "half an answer";

/// Statuses that are about the router's key, and not about the client's, which the server never saw.
fn is_between_servers(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401..=403 | 407)
}

/// Whether the end of the body says that it is whole. Without a length or chunks the end of the
/// connection is all there is, and a server that crashes ends it too.
fn is_framed(headers: &http::HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

fn is_whole(tail: &Tail, answer: &[u8]) -> bool {
    let mut tail = tail.clone();
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
        let endpoint = Arc::clone(lease.endpoint());
        Self {
            settings: endpoint.settings(),
            endpoint,
            lease: Some(lease),
            usage: usage.clone(),
        }
    }

    pub(super) fn none(endpoint: Arc<Endpoint>, usage: &Usage) -> Self {
        Self {
            settings: endpoint.settings(),
            endpoint,
            lease: None,
            usage: usage.clone(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The slot pool, if there is a slot.
    pub(super) fn pool(&self) -> Option<&Arc<SlotPool>> {
        self.lease.as_ref().map(Lease::pool)
    }

    /// Whether the server goes on computing when its client has left, so that the
    /// slot must be held until it is complete.
    pub(super) fn completes_without_client(&self, streamed: bool) -> bool {
        self.lease.is_some() && self.settings.backend.completes_without_client(streamed)
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
    /// First the count, then the notification.
    fn drop(&mut self) {
        drop(self.lease.take());
        self.usage.touched();
    }
}

// === impl Stopped ===

impl Stopped {
    fn by(failure: Failure) -> Self {
        if let Failure::Local(what) = failure {
            return Self::Over(Error::Exhaustion(what));
        }
        let fault = match failure {
            Failure::Refused(_) | Failure::ConnectTimeout => Fault::Unreachable,
            Failure::Silent => Fault::Silent,
            _ => Fault::Broken,
        };
        Self::Failover {
            fault,
            server_error: ServerError::Nothing(failure),
        }
    }
}

// === impl ServerError ===

impl ServerError {
    async fn read(answer: Response<AnswerBody>) -> Self {
        let (head, body) = answer.into_parts();
        if is_between_servers(head.status) {
            let refused = format!(
                "the server refuses the router's key: status {}",
                head.status
            );
            return Self::Nothing(Failure::Unusable(refused));
        }
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

    /// The value of the metric's label.
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

impl fmt::Display for ServerError {
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
