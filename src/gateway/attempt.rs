//! One try on one server, up to the first byte of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::relay::Reading;
use super::respond::format_of;
use super::server_error::ServerError;
use super::{Error, Gateway};
use crate::backend::{Backend, ClientRequest, Outgoing, Verdict};
use crate::faults::Fault;
use crate::fleet::{Endpoint, Lease, Outcome, Settings, SlotPool};
use crate::protocol::{Format, Tail};
use crate::upstream::{AnswerBody, Failure};
use crate::usage::Usage;

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

impl Gateway {
    pub(super) async fn attempt(&self, slot: &Slot, request: &ClientRequest) -> Try {
        let limit = if request.streamed {
            self.rules.first_byte_timeout
        } else {
            self.rules.answer_timeout
        };
        let deadline = Instant::now() + limit;
        let ejected = slot.ejected();
        tokio::select! {
            biased;
            began = timeout_at(deadline, self.begin(slot, request)) => {
                began.unwrap_or_else(|_| Err(Stopped::by(Failure::Silent)))
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
            Verdict::Failover => {
                let server_error = Box::pin(ServerError::read(answer)).await;
                let fault = server_error.fault(backend);
                Err(Stopped::Failover {
                    fault,
                    server_error: server_error.presentable(fault),
                })
            }
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

    /// A piece of the answer has come.
    pub(super) fn delivered(&self) {
        if let Some(lease) = &self.lease {
            lease.delivered();
        }
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
        match failure.fault() {
            None => Self::Over(Error::Exhaustion(failure.to_string())),
            Some(fault) => Self::Failover {
                fault,
                server_error: ServerError::Nothing(failure),
            },
        }
    }
}
