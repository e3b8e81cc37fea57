//! What is done at the end of an answer, exactly once.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Span;

use crate::access::Reservation;
use crate::clock;
use crate::domain::{TokenCounts, UsageRecord};
use crate::faults::Fault;
use crate::fleet::Outcome;
use crate::gateway::Gateway;
use crate::gateway::attempt::Slot;
use crate::gateway::meters::Meter;
use crate::gateway::requests::Request;
use crate::protocol::Tail;
use crate::spend::Recorded;

/// A token of English or code is about four bytes: good enough where the server never said.
pub(in crate::gateway) const BYTES_PER_TOKEN: u64 = 4;

/// The status of a request whose client left, as in nginx and Ollama.
pub(in crate::gateway) const LEFT: u16 = 499;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Whole.
    Whole,
    /// The server broke it.
    Failed(Fault),
    /// The program ended.
    Cut,
    /// The client left.
    Left,
}

/// What is done when the answer ends: metrics, usage, the slot.
#[derive(Debug)]
pub(in crate::gateway) struct Completion {
    _open: TaskTrackerToken,
    gateway: Arc<Gateway>,
    slot: Option<Slot>,
    meter: Meter,
    /// What the request may use; charged when it is over.
    reservation: Option<Reservation>,
    span: Span,
    prompt_bytes: usize,
    status: StatusCode,
    /// The answer itself has begun.
    begun: bool,
    /// The client has left; the server goes on computing.
    left: bool,
    end: Option<End>,
}

impl Completion {
    pub(in crate::gateway) fn new(
        gateway: &Arc<Gateway>,
        slot: Slot,
        meter: Meter,
        reservation: Option<Reservation>,
        prompt_bytes: usize,
    ) -> Self {
        Self {
            _open: gateway.open.token(),
            gateway: Arc::clone(gateway),
            slot: Some(slot),
            meter,
            reservation,
            span: Span::current(),
            prompt_bytes,
            status: StatusCode::OK,
            begun: false,
            left: false,
            end: None,
        }
    }

    /// Whether the answer itself has begun.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// How long the server may send nothing, and what ends all answers.
    pub(super) fn limits(&self) -> (Duration, CancellationToken) {
        (
            self.gateway.rules.idle_timeout,
            self.gateway.cutting.clone(),
        )
    }

    pub(super) fn answering(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// So many pieces of the answer's text have come.
    pub(super) fn progressed(&self, pieces: u64) {
        self.meter.note(|request| request.progressed(pieces));
    }

    /// Whether an operator has ended the request; whoever asks is woken when one does.
    pub(super) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.meter.request() {
            Some(request) => request.poll_cancelled(cx),
            None => Poll::Pending,
        }
    }

    /// The same, for whoever is not to be woken.
    pub(super) fn is_cancelled(&self) -> bool {
        let request = self.meter.request();
        request.is_some_and(|request| request.is_cancelled())
    }

    /// What operators see of the request, until it is over.
    pub(super) fn request(&self) -> Option<&Arc<Request>> {
        self.meter.request()
    }

    pub(super) fn first_byte(&mut self) {
        self.begun = true;
        self.meter.note(Request::answered);
        let Some(slot) = &mut self.slot else { return };
        slot.first_byte();
        if let Some(pool) = slot.pool() {
            self.meter.first_byte(slot.endpoint(), pool);
        }
    }

    /// A piece has come, which is one of the answer once that has begun.
    pub(super) fn delivered(&self) {
        if let Some(slot) = self.slot.as_ref().filter(|_| self.begun) {
            slot.delivered();
        }
    }

    /// Until when the answer is read without the client, which has left, if it is.
    pub(super) fn without_client_until(&self) -> Option<Instant> {
        self.slot.as_ref().and_then(Slot::without_client_until)
    }

    /// The client reads the answer no longer, though it goes on.
    pub(in crate::gateway) fn left(&mut self) {
        self.left = true;
    }

    /// True once [`Completion::finish`] was called.
    pub(in crate::gateway) fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    /// The answer is over. The first call counts; the slot itself is given back with
    /// [`Completion::close`], when the server has ended the exchange too.
    ///
    /// Returns what the last piece must wait for, if anything.
    pub(super) fn finish(&mut self, end: End, tail: Option<&Tail>) -> Option<Recorded> {
        if self.end.is_some() {
            return None;
        }
        self.end = Some(end);
        let slot = self.slot.as_ref()?;
        slot.ending(self.status);
        let endpoint = slot.endpoint();
        let pool = slot.pool();
        let status = if self.left {
            LEFT
        } else {
            self.status.as_u16()
        };
        self.meter.ended(endpoint, pool.map(|pool| &**pool), status);
        let used = pool.zip(tail).and_then(|(pool, tail)| {
            let (tokens, estimated) = self.used(end, tail)?;
            Some((pool, tokens, estimated))
        });
        let _request = self.span.enter();
        tracing::debug!(
            endpoint = %endpoint.name(),
            model = pool.map_or("", |pool| pool.model().as_str()),
            status,
            ?end,
            queue_ms = self.meter.queued().as_millis(),
            total_ms = self.meter.elapsed().as_millis(),
            tokens = ?used.map(|(_, tokens, _)| tokens),
            "request ended"
        );
        let at = clock::unix_seconds();
        let (tokens, estimated) = used
            .map_or((TokenCounts::ZERO, false), |(_, tokens, estimated)| {
                (tokens, estimated)
            });
        let cached = tail.map_or(0, Tail::cached);
        let charge = self.reservation.take().map(|mut reservation| {
            let charge = reservation.charge(tokens, cached, at);
            (charge, reservation.has_payers())
        });
        let (charge, someone_pays) = charge.unwrap_or_default();
        if used.is_none() && !someone_pays {
            return None;
        }
        let pool = pool?;
        if used.is_some() {
            self.meter.tokens(endpoint, pool, tokens, estimated);
            self.gateway
                .usage
                .counted(endpoint.name(), pool.model(), tokens);
        }
        let record = UsageRecord {
            endpoint: Arc::clone(endpoint.name()),
            model: pool.model().clone(),
            at,
            tokens,
            estimated,
            charge,
            failed: matches!(end, End::Failed(_) | End::Cut) || !self.status.is_success(),
        };
        Some(self.gateway.spend.record(record))
    }

    /// Gives the slot back.
    pub(super) fn close(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        slot.end(match self.end {
            Some(End::Whole) => Outcome::Done,
            // An error inside a stream that has begun: there is no other server to compare with.
            Some(End::Failed(Fault::Status)) if self.begun => Outcome::Done,
            Some(End::Failed(fault)) => Outcome::Failed(fault),
            Some(End::Cut | End::Left) | None => Outcome::Left,
        });
    }

    /// Gives the slot back, and is over for operators, though the client may not have taken the end yet.
    pub(super) fn give_up(&mut self) {
        self.close();
        self.meter.over();
    }

    /// The server's counts if it sent them; else, where anything was sent, an estimate of it, in which what a message said at
    /// its beginning to have read counts more than the length of its prompt. Some servers that do not count say zero.
    fn used(&self, end: End, tail: &Tail) -> Option<(TokenCounts, bool)> {
        let stated = tail.tokens().filter(|tokens| tokens.total() > 0);
        if let Some(tokens) = stated.filter(|_| !tail.says_no_output()) {
            return Some((tokens, false));
        }
        let text = tail.text_bytes().div_ceil(BYTES_PER_TOKEN);
        let output = tail.pieces().max(text);
        if output == 0 && end != End::Whole {
            return None;
        }
        let prompt = u64::try_from(self.prompt_bytes).unwrap_or_default();
        let read = stated.map(|stated| stated.input).or_else(|| tail.read());
        let estimate = TokenCounts {
            input: read.unwrap_or(prompt.div_ceil(BYTES_PER_TOKEN)),
            output,
        };
        (estimate.total() > 0).then_some((estimate, true))
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.close();
    }
}
