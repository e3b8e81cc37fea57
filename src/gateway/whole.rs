//! The beginning of an answer, or all of it where it is of no use before it is whole.
//!
//! A head is not an answer yet: a server that fails after it has given the client nothing. An answer
//! that is not streamed is worth nothing to its client before it is whole, so a short one is read whole here:
//! whatever breaks it, and however its server frames it, another server can still give a whole one. No
//! client gets an empty answer.
//!
//! A stream is held back until its first event is there, which nearly always it is at once: a server that
//! says in it, in place of an answer, that it failed has given the client nothing either.
//!
//! How the body is framed is decided here, once, from what was asked for and from its first bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use super::attempt::{Began, Stopped};
use super::inbound::REQUEST_ID;
use super::kept::{Budget, MOST, Pieces};
use super::relay::{FRAMING, Reading};
use super::server_error::{SAID_WITHIN, ServerError};
use crate::backend::{Backend, ClientRequest, Outgoing};
use crate::protocol::{
    Api, Beginning, CONTENT_TYPE_JSON, Format, Tail, answer_text, framing, said_error, shaped_error,
};
use crate::upstream::{AnswerBody, Failure};

const EMPTY: &str = "empty answer";
const NO_ANSWER: &str = "something else than an answer";
const HALF: &str = "half an answer";

/// How an answer begins is known from fewer bytes than this.
const UNDECIDED: usize = 16 << 10;

/// What is known of an answer before it comes.
pub(super) struct Expected<'a> {
    /// The kind of its server.
    pub(super) backend: &'a Backend,
    /// What was sent.
    pub(super) sent: &'a Outgoing<'a>,
    /// What was asked for.
    pub(super) request: &'a ClientRequest,
    /// How long the server may send nothing in between.
    pub(super) idle: Duration,
    /// Where a large one takes room to be kept.
    pub(super) budget: &'a Budget,
}

/// What came first: an answer, or an error in its place, though the status was 200.
pub(super) type First = Result<Began, ServerError>;

impl Expected<'_> {
    /// Reads the first bytes of the answer, or all of it.
    pub(super) async fn first_byte(&self, answer: Response<AnswerBody>) -> Result<First, Stopped> {
        let (head, mut body) = answer.into_parts();
        let api = self.sent.api;
        if !head.status.is_success() {
            let began = Box::pin(self.refused(head, body)).await?;
            return Ok(Ok(began));
        }
        let first = piece(&mut body).await.map_err(Stopped::by)?;
        // Nothing may have been said in a recording.
        let first = first.or_else(|| is_text(api, &head).then(Bytes::new));
        let first = first.ok_or_else(|| Stopped::by(Failure::Closed(EMPTY.to_owned())))?;
        let expected = api.format(self.request.streamed);
        let beginning = match head.headers.contains_key(CONTENT_ENCODING) {
            true => Beginning::Of(Format::Unread),
            false => framing(api, expected, &first),
        };
        let (format, first) = match beginning {
            Beginning::Of(format) => (format, first),
            Beginning::Other => {
                return Err(Stopped::by(Failure::Closed(NO_ANSWER.to_owned())));
            }
            Beginning::Open => Box::pin(self.decided(expected, &first, &mut body))
                .await
                .map_err(Stopped::by)?,
        };
        let mut reading = Reading {
            first: None,
            body,
            format,
            tail: self
                .backend
                .reader(api, format)
                .of_choices(self.request.choices),
            is_read: true,
            hides_usage: self.sent.hides_usage,
            due: None,
        };
        reading.tail.push(&first);
        // What has a length has been computed, whatever was asked for.
        let is_ready = reading.body.size_hint().exact().is_some();
        let first = match expected == Format::Json || format == Format::Json || is_ready {
            true => Box::pin(self.gathered(&mut reading, format, first)).await,
            false if reading.tail.is_in_first_event() => {
                Box::pin(self.begun(&mut reading, format, first)).await
            }
            false => Ok(first),
        };
        let first = first.map_err(Stopped::by)?;
        if may_be_error(&reading, format, &first)
            && let Some(said) = said_error(api, format, &first)
        {
            return Ok(Err(ServerError::said(said, &head.headers)));
        }
        if reading.tail.is_cut_short() {
            return Err(Stopped::by(Failure::Closed(HALF.to_owned())));
        }
        if reading.tail.is_empty() {
            return Err(Stopped::by(Failure::Closed(EMPTY.to_owned())));
        }
        if reading.tail.is_finished()
            && format != Format::Unread
            && reading.tail.tokens().is_none_or(|used| used.total() == 0)
        {
            reading.tail.set_text_bytes(answer_text(&first));
        }
        reading.first = Some(first);
        Ok(Ok(Began { head, reading }))
    }

    /// The beginning of a body, as much of it as says how it is framed.
    async fn decided(
        &self,
        expected: Format,
        first: &[u8],
        body: &mut AnswerBody,
    ) -> Result<(Format, Bytes), Failure> {
        let mut all = BytesMut::from(first);
        while all.len() < UNDECIDED {
            let Some(more) = timed(self.idle, body).await? else {
                let why = match all.trim_ascii() {
                    [b'{', ..] => HALF,
                    _ if self.sent.api.may_answer_text() => {
                        return Ok((Format::Unread, all.freeze()));
                    }
                    [] => EMPTY,
                    _ => NO_ANSWER,
                };
                return Err(Failure::Closed(why.to_owned()));
            };
            all.extend_from_slice(&more);
            match framing(self.sent.api, expected, &all) {
                Beginning::Of(format) => return Ok((format, all.freeze())),
                Beginning::Other => break,
                Beginning::Open => {}
            }
        }
        Err(Failure::Closed(NO_ANSWER.to_owned()))
    }

    /// The pieces of an answer that is of no use before it is whole, as far as one is kept.
    async fn gathered(
        &self,
        reading: &mut Reading,
        format: Format,
        first: Bytes,
    ) -> Result<Bytes, Failure> {
        let Reading { body, tail, .. } = reading;
        let is_too_long = |length| length > MOST as u64;
        let is_kept = !body.size_hint().exact().is_some_and(is_too_long);
        let mut all = Pieces::from(first);
        while !body.is_end_stream() && !tail.is_cut_short() {
            let has_room = match is_kept {
                true => all.finds_room(self.budget),
                false => all.has_room(),
            };
            if !has_room {
                return Ok(all.joined());
            }
            let is_over = tail.is_finished();
            let limit = if is_over { FRAMING } else { self.idle };
            let more = match timed(limit, body).await {
                // The answer is there, though its server does not end the body.
                Err(Failure::Silent) if is_over => return Ok(all.joined()),
                more => more?,
            };
            let Some(more) = more else {
                break;
            };
            tail.push(&more);
            all.add(more);
        }
        tail.end();
        let all = all.joined();
        if !tail.is_finished() && !self.is_error(tail, format, &all) {
            return Err(Failure::Closed(HALF.to_owned()));
        }
        if !reading.hides_usage {
            // All there is passes at once and unchanged, so that it keeps its length.
            reading.format = Format::Json;
        }
        Ok(all)
    }

    /// Whether all of an answer is an error, in whatever form.
    fn is_error(&self, tail: &Tail, format: Format, all: &[u8]) -> bool {
        tail.saw_error() || said_error(self.sent.api, format, all).is_some()
    }

    /// The beginning of a stream, up to the end of its first event.
    async fn begun(
        &self,
        reading: &mut Reading,
        format: Format,
        first: Bytes,
    ) -> Result<Bytes, Failure> {
        let Reading { body, tail, .. } = reading;
        let mut all = Pieces::from(first);
        while tail.is_in_first_event() && all.has_room() {
            let Some(more) = timed(self.idle, body).await? else {
                tail.end();
                let all = all.joined();
                return match tail.is_finished() || self.is_error(tail, format, &all) {
                    true => Ok(all),
                    false => Err(Failure::Closed(HALF.to_owned())),
                };
            };
            tail.push(&more);
            all.add(more);
        }
        Ok(all.joined())
    }

    /// A refusal with a status of its own, read whole likewise: a client that is told nothing learns nothing. It gets it
    /// in the form of its path, unless it is so long that it is not read whole.
    async fn refused(&self, mut head: Parts, mut body: AnswerBody) -> Result<Began, Stopped> {
        let mut all = Pieces::from(Bytes::new());
        let limit = Instant::now() + SAID_WITHIN;
        let mut is_whole = false;
        while !is_whole && all.has_room() {
            let more = timeout_at(limit, piece(&mut body)).await;
            let half = |_| Stopped::by(Failure::Closed(HALF.to_owned()));
            match more.map_err(half)?.map_err(Stopped::by)? {
                Some(more) => all.add(more),
                None => is_whole = true,
            }
        }
        if all.is_empty() && head.status.is_client_error() {
            let silent = Box::new(ServerError::silent(head.status));
            return Err(Stopped::Over(Error::Exhausted(silent)));
        }
        let said = all.joined();
        let shaped = is_whole.then(|| self.shaped(&mut head, &said)).flatten();
        body.unread(shaped.unwrap_or(said));
        let api = self.sent.api;
        let reading = Reading {
            first: None,
            body,
            format: Format::Json,
            tail: self.backend.reader(api, Format::Json),
            is_read: false,
            hides_usage: false,
            due: None,
        };
        Ok(Began { head, reading })
    }

    /// A refusal in the form of its path, with a head to it, where it is not that already.
    fn shaped(&self, head: &mut Parts, said: &Bytes) -> Option<Bytes> {
        if head.headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let id = self.request.headers.get(REQUEST_ID);
        let id = id.and_then(|id| id.to_str().ok());
        let shaped = shaped_error(self.sent.api.dialect(), head.status, said, id)?;
        let json = HeaderValue::from_static(CONTENT_TYPE_JSON);
        head.headers.insert(CONTENT_TYPE, json);
        head.headers.insert(CONTENT_LENGTH, shaped.len().into());
        Some(shaped)
    }
}

/// Whether what has come has to be looked at for an error in place of an answer.
fn may_be_error(reading: &Reading, format: Format, first: &[u8]) -> bool {
    let tail = &reading.tail;
    tail.saw_error()
        || match format {
            Format::Sse => tail.pieces() == 0,
            // No answer is an array.
            Format::Json | Format::Ndjson => first.trim_ascii_start().first() == Some(&b'['),
            Format::Unread => false,
        }
}

/// Whether the answer says that it is a text, where one may come.
fn is_text(api: Api, head: &Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE);
    api.may_answer_text() && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

async fn timed(idle: Duration, body: &mut AnswerBody) -> Result<Option<Bytes>, Failure> {
    timeout(idle, piece(body))
        .await
        .unwrap_or(Err(Failure::Silent))
}

/// The next bytes; `None` at the end.
pub(super) async fn piece(body: &mut AnswerBody) -> Result<Option<Bytes>, Failure> {
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
