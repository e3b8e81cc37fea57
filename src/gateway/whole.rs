//! The beginning of an answer, or all of it where it is of no use before it is whole.
//!
//! A head is not an answer yet: a server that fails after it has given the client nothing. An answer
//! that is not streamed is worth nothing to its client before it is whole, so a short one is read whole here:
//! whatever breaks it, and however its server frames it, another server can still give a whole one. No
//! client gets an empty answer.
//!
//! How the body is framed is decided here, once, from what was asked for and from its first bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_ENCODING;
use http::response::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::Error;
use super::attempt::{Began, Stopped, Try};
use super::relay::Reading;
use super::server_error::ServerError;
use crate::backend::{Backend, Outgoing};
use crate::protocol::{Format, Tail, framing};
use crate::upstream::{AnswerBody, Failure};

/// An answer that is not streamed is read whole up to about this size before it is passed on.
const KEPT_WHOLE: usize = 256 << 10;

const EMPTY: &str = "empty answer";
const HALF: &str = "half an answer";

/// Reads the first bytes of the answer to `sent`, or all of it; `streamed` says what was asked for, `idle`
/// how long the server may send nothing in between.
pub(super) async fn first_byte(
    backend: &Backend,
    sent: &Outgoing<'_>,
    streamed: bool,
    answer: Response<AnswerBody>,
    idle: Duration,
) -> Try {
    let (head, mut body) = answer.into_parts();
    if !head.status.is_success() {
        let tail = backend.reader(sent.api, Format::Json);
        return Box::pin(refused(head, body, tail, idle)).await;
    }
    let first = piece(&mut body).await.map_err(Stopped::by)?;
    let first = first.ok_or_else(|| Stopped::by(Failure::Closed(EMPTY.to_owned())))?;
    let expected = sent.api.format(streamed);
    let format = match head.headers.contains_key(CONTENT_ENCODING) {
        true => Format::Unread,
        false => framing(expected, &first),
    };
    let mut reading = Reading {
        first: None,
        body,
        format,
        tail: backend.reader(sent.api, format),
        is_read: false,
        hides_usage: sent.hides_usage,
    };
    // What has a length has been computed, whatever was asked for.
    let is_ready = reading.body.size_hint().exact().is_some();
    let first = match expected == Format::Json || format == Format::Json || is_ready {
        true => Box::pin(gathered(&mut reading, first, idle))
            .await
            .map_err(Stopped::by)?,
        false => first,
    };
    reading.first = Some(first);
    Ok(Began { head, reading })
}

/// The pieces of an answer that is of no use before it is whole, as far as one is kept.
async fn gathered(reading: &mut Reading, first: Bytes, idle: Duration) -> Result<Bytes, Failure> {
    let Reading {
        body,
        tail,
        is_read,
        ..
    } = reading;
    tail.push(&first);
    *is_read = true;
    let mut all = Pieces::from(first);
    while !body.is_end_stream() {
        if all.len() >= KEPT_WHOLE {
            return Ok(all.joined());
        }
        let Some(more) = timed(idle, body).await? else {
            break;
        };
        tail.push(&more);
        all.add(more);
    }
    tail.end();
    if !tail.is_finished() {
        return Err(Failure::Closed(HALF.to_owned()));
    }
    if !reading.hides_usage {
        // All there is passes at once and unchanged, so that it keeps its length.
        reading.format = Format::Json;
    }
    Ok(all.joined())
}

/// A refusal with a status of its own, read whole likewise: a client that is told nothing learns nothing.
async fn refused(head: Parts, mut body: AnswerBody, tail: Tail, idle: Duration) -> Try {
    let mut all = Pieces::default();
    while all.len() < KEPT_WHOLE {
        match timed(idle, &mut body).await.map_err(Stopped::by)? {
            Some(more) => all.add(more),
            None => break,
        }
    }
    if all.len() == 0 && head.status.is_client_error() {
        let silent = Box::new(ServerError::silent(head.status));
        return Err(Stopped::Over(Error::Exhausted(silent)));
    }
    body.unread(all.joined());
    let reading = Reading {
        first: None,
        body,
        format: Format::Json,
        tail,
        is_read: false,
        hides_usage: false,
    };
    Ok(Began { head, reading })
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

/// Pieces put together; a single one is not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    more: BytesMut,
}

impl Pieces {
    fn add(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.more.is_empty() {
            self.more
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&piece);
    }

    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn joined(self) -> Bytes {
        match self.more.is_empty() {
            true => self.first,
            false => self.more.freeze(),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(first: Bytes) -> Self {
        Self {
            first,
            more: BytesMut::new(),
        }
    }
}
