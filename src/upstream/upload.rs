//! A body that is sent while it is still coming.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::sync::mpsc;

/// What is sent to whoever sends an [`Upload`].
#[derive(Clone, Debug)]
pub enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// There are no more.
    End,
}

/// The body. It is whole only when its end was said: without that the request breaks off, so that the server
/// does not take half a body for all of it.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Receiver<Piece>,
    length: Option<u64>,
    over: bool,
}

/// The end was not said.
#[derive(Debug, Error)]
#[error("the body broke off")]
pub struct BrokeOff;

impl Upload {
    /// The body of these pieces, which together have this length, if it is known.
    #[must_use]
    pub fn new(pieces: mpsc::Receiver<Piece>, length: Option<u64>) -> Self {
        Self {
            pieces,
            length,
            over: length == Some(0),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(self.pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => {
                self.length = self
                    .length
                    .map(|length| length.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Piece::End) => {
                self.over = true;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(BrokeOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
