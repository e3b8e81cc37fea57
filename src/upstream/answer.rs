//! The body of an answer, without its encoding, together with the connection it comes over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;

use super::Connections;
use super::coding::Decoder;
use super::connection::HttpConnection;

/// Why a body is not whole.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The connection broke, or its bytes are not HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// It is not encoded as its head says.
    #[error("its content encoding cannot be undone: {0}")]
    Encoding(io::Error),
}

/// Read to its end it gives its connection back; dropped before, it closes it.
pub struct AnswerBody {
    body: Incoming,
    connection: Option<HttpConnection>,
    connections: Arc<Connections>,
    /// For a body that is encoded; nearly none is.
    decoder: Option<Box<Decoder>>,
    /// What was read of it already, and given back.
    unread: Option<Bytes>,
}

impl AnswerBody {
    pub(super) fn new(
        body: Incoming,
        connection: HttpConnection,
        connections: Arc<Connections>,
        decoder: Option<Box<Decoder>>,
    ) -> Self {
        let mut answer = Self {
            body,
            connection: Some(connection),
            connections,
            decoder,
            unread: None,
        };
        answer.give_back_if_over();
        answer
    }

    /// Gives back what was read of its beginning: it is read again.
    pub fn unread(&mut self, bytes: Bytes) {
        self.unread = Some(bytes).filter(|bytes| !bytes.is_empty());
    }

    fn give_back_if_over(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.connections.put(connection);
        }
    }

    fn poll_received(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(connection) = &mut self.connection {
            connection.drive(cx);
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(_))) => self.give_back_if_over(),
            Poll::Ready(Some(Err(_))) => self.connection = None,
            Poll::Pending => {}
        }
        frame
    }

    fn poll_decoded(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(decoder) = &mut self.decoder else {
                return Poll::Ready(None);
            };
            match decoder.next() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(error) => {
                    self.connection = None;
                    return Poll::Ready(Some(Err(BodyError::Encoding(error))));
                }
            }
            match ready!(self.poll_received(cx)).transpose()? {
                Some(frame) => {
                    if let (Ok(data), Some(decoder)) = (frame.into_data(), &mut self.decoder) {
                        decoder.feed(data);
                    }
                }
                None => {
                    let finished = self.decoder.take().map(|mut decoder| decoder.finish());
                    let broken = finished.and_then(Result::err);
                    return Poll::Ready(broken.map(|error| Err(BodyError::Encoding(error))));
                }
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(bytes) = this.unread.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if this.decoder.is_some() {
            return this.poll_decoded(cx);
        }
        this.poll_received(cx)
            .map(|frame| frame.map(|frame| frame.map_err(BodyError::Http)))
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_none() && self.decoder.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.unread, &self.decoder) {
            (None, None) => self.body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBody")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
