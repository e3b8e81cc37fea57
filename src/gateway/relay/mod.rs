//! The body of an answer on its way to the client.
//!
//! Owns the end of a request: bytes pass through as they came, and whichever way the body ends
//! (whole, broken, stalled, cut at shutdown, or dropped because the client has gone) its
//! [`Completion`] runs exactly once.
//!
//! The piece that makes an answer whole is held back until its usage is in the journal: a client
//! that saw the end of its answer finds its tokens counted, whatever crashes next. A stream that
//! breaks gets its dialect's error as its last piece; a body of announced length cannot be completed
//! and is aborted, which every client notices.
//!
//! Nothing is buffered but that one piece, so a slow client slows its server down and nothing else.

mod body;
mod completion;
mod reading;
mod stage;
mod waits;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame};
use tokio::time::Instant;

use completion::End;
pub(super) use completion::{BYTES_PER_TOKEN, Completion};
pub(super) use reading::Reading;
pub use stage::Aborted;
use stage::Stage;
use waits::{Waits, Woken};

use crate::faults::Fault;
use crate::gateway::requests::Request;
use crate::protocol::{Api, Format, Tail, UsageFilter, before_done, stream_end};
use crate::upstream::AnswerBody;

/// See the module.
#[derive(Debug)]
pub struct Relay {
    /// Declared before the completion: a connection is closed before its slot is given on. `None` once the
    /// request was cancelled.
    upstream: Option<AnswerBody>,
    completion: Completion,
    first: Option<Bytes>,
    api: Api,
    format: Format,
    /// Reads the answer; `None` for answers that are errors.
    tail: Option<Tail>,
    /// The next piece was shown to it.
    is_read: bool,
    /// Removes what the router asked for and the client did not.
    filter: Option<UsageFilter>,
    /// The last two bytes sent; newlines to begin with.
    sent: [u8; 2],
    waits: Waits,
    /// The stream has said all but its marker.
    lacks_marker: bool,
    stage: Stage,
}

/// How long the end of a body may take after the end of the answer in it.
pub(super) const FRAMING: Duration = Duration::from_secs(1);
/// How long the marker may take of a stream that has said all else.
const MARKER: Duration = Duration::from_secs(3);

const STALLED: &str = "the server stopped answering";
const BROKEN: &str = "the connection to the server broke inside its answer";
const CUT_SHORT: &str = "the server ended its answer without finishing it";
const CANCELLED: &str = "the request was cancelled by an operator";
const SHUTDOWN: &str = "server is shutting down";
const NOT_RECORDED: &str = "the usage of this answer could not be recorded";

impl Relay {
    pub(super) fn new(
        completion: Completion,
        api: Api,
        status: StatusCode,
        reading: Reading,
    ) -> Self {
        let Reading {
            first,
            body,
            format,
            tail,
            is_read,
            hides_usage,
            due,
        } = reading;
        let tail = status.is_success().then_some(tail);
        let filter = (hides_usage && format == Format::Sse).then(UsageFilter::default);
        let mut waits = Waits::new(&completion);
        waits.end_at(due);
        let mut relay = Self {
            completion,
            upstream: Some(body),
            first,
            api,
            format,
            tail,
            is_read,
            filter,
            sent: *b"\n\n",
            waits,
            lacks_marker: false,
            stage: Stage::Passing,
        };
        if relay.first.is_some() && due.is_none() {
            relay.completion.first_byte();
        }
        relay.completion.answering(status);
        relay
    }

    /// The client reads the answer no longer: until when it goes on all the same, if it does.
    pub(super) fn left(&mut self) -> Option<Instant> {
        self.completion.left();
        self.completion.without_client_until()
    }

    /// An operator has ended the request: its server stops and its slot is free at once, whenever the client
    /// takes what is left for it. An answer that is whole, but for what waits for the journal, stays so.
    pub(super) fn cancel(&mut self) {
        if matches!(self.stage, Stage::Passing)
            && let Err(aborted) = self.fail(End::Cut, CANCELLED)
        {
            self.stage = Stage::Broken(aborted);
        }
        self.upstream = None;
        self.completion.give_up();
    }

    /// What operators see of the request.
    pub(super) fn request(&self) -> Option<&Arc<Request>> {
        self.completion.request()
    }

    /// The answer is over, as far as counting goes.
    pub(super) fn is_complete(&self) -> bool {
        self.completion.is_finished()
    }

    /// One piece of the server's.
    fn pass(&mut self, data: Bytes) -> Bytes {
        let is_read = std::mem::take(&mut self.is_read);
        let finished = self.tail.as_mut().is_some_and(|tail| {
            let finished = match is_read {
                true => tail.is_finished(),
                false => tail.push(&data).finished_now,
            };
            self.completion.progressed(tail.pieces());
            finished
        });
        self.notice();
        let behind = self.tail.as_ref().map_or(0, Tail::behind_done);
        if self.tail.as_ref().is_some_and(Tail::is_cut_short) {
            return self.cut_short(&data, behind);
        }
        if finished && self.is_without_answer() && self.broken(Fault::Broken, CUT_SHORT).is_ok() {
            return Bytes::new();
        }
        let failed = finished && self.tail.as_ref().is_some_and(Tail::saw_error);
        let is_told = self.tail.as_ref().is_some_and(Tail::ended_as_failed);
        let data = match failed && !is_told && self.format == Format::Sse {
            true => before_done(&data, behind),
            false => data,
        };
        let data = match &mut self.filter {
            Some(filter) => filter.push(data),
            None => data,
        };
        if !finished {
            return data;
        }
        let end = match failed {
            true => End::Failed(Fault::Status),
            false => End::Whole,
        };
        match self.completion.finish(end, self.tail.as_ref()) {
            Some(recorded) => {
                self.stage = Stage::Recording {
                    held: data,
                    recorded,
                };
                Bytes::new()
            }
            None => {
                self.whole();
                data
            }
        }
    }

    /// What the last piece has brought: the beginning of the answer itself, or all but the end of it.
    fn notice(&mut self) {
        let Some(tail) = &self.tail else { return };
        if !self.completion.has_begun() && tail.has_begun() {
            self.completion.first_byte();
            self.waits.end_at(None);
        }
        let lacks_marker = tail.lacks_only_its_marker();
        if lacks_marker != self.lacks_marker {
            self.lacks_marker = lacks_marker;
            let until = lacks_marker.then(|| Instant::now() + MARKER);
            self.waits.end_at(until);
        }
    }

    /// The server has said that this is the end, and it is not: what some clients would believe is left out.
    fn cut_short(&mut self, data: &Bytes, behind: usize) -> Bytes {
        let before = before_done(data, behind);
        self.sends(&before);
        if let Err(aborted) = self.broken(Fault::Broken, CUT_SHORT) {
            self.stage = Stage::Broken(aborted);
        }
        before
    }

    /// Whether a stream is over in which there was nothing but comments.
    fn is_without_answer(&self) -> bool {
        !self.completion.has_begun() && self.tail.as_ref().is_some_and(Tail::is_empty)
    }

    /// The last piece is out. A server that does not end the body as well holds neither client nor slot.
    fn whole(&mut self) {
        self.stage = Stage::Whole;
        self.waits.limit(FRAMING);
    }

    /// The server has ended the body.
    fn ended(&mut self) -> Result<(), Aborted> {
        let held = self
            .filter
            .take()
            .map(|mut filter| filter.finish())
            .unwrap_or_default();
        let Some(tail) = &mut self.tail else {
            self.completion.finish(End::Whole, None);
            self.stage = Stage::Ending(held);
            return Ok(());
        };
        tail.end();
        let whole = tail.is_finished();
        if matches!(self.stage, Stage::Whole) {
            self.stage = Stage::Ending(held);
            return Ok(());
        }
        if whole {
            let recorded = self.completion.finish(End::Whole, self.tail.as_ref());
            self.stage = match recorded {
                Some(recorded) => Stage::Recording { held, recorded },
                None => Stage::Ending(held),
            };
            return Ok(());
        }
        if tail.saw_error() {
            self.completion
                .finish(End::Failed(Fault::Status), self.tail.as_ref());
            self.stage = Stage::Ending(held);
            return Ok(());
        }
        self.broken(Fault::Broken, CUT_SHORT)
    }

    /// The answer will never be whole.
    fn broken(&mut self, fault: Fault, why: &'static str) -> Result<(), Aborted> {
        self.fail(End::Failed(fault), why)
    }

    fn fail(&mut self, end: End, why: &'static str) -> Result<(), Aborted> {
        if matches!(self.stage, Stage::Whole) {
            self.stage = Stage::Over;
            return Ok(());
        }
        self.completion.finish(end, self.tail.as_ref());
        self.end_with_error(why)
    }

    /// Makes sure that the client cannot take what it has for a whole answer.
    fn end_with_error(&mut self, why: &'static str) -> Result<(), Aborted> {
        if matches!(self.format, Format::Json | Format::Unread) || self.tail.is_none() {
            self.stage = Stage::Over;
            return Err(Aborted(why));
        }
        let between = match self.format {
            Format::Sse => self.sent == *b"\n\n",
            Format::Ndjson | Format::Json | Format::Unread => self.sent[1] == b'\n',
        };
        self.stage = Stage::Ending(stream_end(self.api, self.format, between, why));
        Ok(())
    }

    /// What is sent next.
    const fn sends(&mut self, data: &[u8]) {
        match *data {
            [.., last_but_one, last] => self.sent = [last_but_one, last],
            [last] => self.sent = [self.sent[1], last],
            [] => {}
        }
    }

    fn emit(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        self.sends(&data);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// The next piece of the server's, or the reason to stop reading.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Aborted>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Some(first)));
        }
        let Some(upstream) = &mut self.upstream else {
            return Poll::Ready(self.ended().map(|()| None));
        };
        if self.completion.is_cancelled() {
            self.cancel();
            return Poll::Ready(Ok(None));
        }
        match Pin::new(upstream).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waits.over();
                Poll::Ready(match frame {
                    Some(Ok(frame)) => {
                        self.completion.delivered();
                        Ok(Some(frame.into_data().unwrap_or_default()))
                    }
                    Some(Err(_)) => self.broken(Fault::Broken, BROKEN).map(|()| None),
                    None => self.ended().map(|()| None),
                })
            }
            Poll::Pending => {
                if self.completion.poll_cancelled(cx).is_ready() {
                    self.cancel();
                    return Poll::Ready(Ok(None));
                }
                let woken = ready!(self.waits.poll(cx));
                Poll::Ready(match woken {
                    Woken::Stalled if self.lacks_marker => self.ended().map(|()| None),
                    Woken::Stalled => self.broken(Fault::Silent, STALLED).map(|()| None),
                    Woken::Cut => self.fail(End::Cut, SHUTDOWN).map(|()| None),
                })
            }
        }
    }
}
