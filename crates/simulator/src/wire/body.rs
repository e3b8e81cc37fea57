//! Response bodies: bytes at once, lines from a task, an answer that is still produced, and any of
//! them slowed down byte by byte or broken halfway.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Abort;

type Polled = Poll<Option<Result<Bytes, Abort>>>;

/// Where lines come from while a task makes them; the task sees the client leave.
pub type Lines = mpsc::Receiver<Result<Bytes, Abort>>;

/// A source of pieces that is polled like a body.
pub trait Pieces: Send {
    /// The next piece, `None` at the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Polled;
}

/// A response body.
pub enum Body {
    /// All of it. The callback runs just before the last byte is handed over.
    Whole(Option<Bytes>, Option<Box<dyn FnOnce() + Send>>),
    /// Lines as they come.
    Lines(Lines),
    /// An answer that is still produced.
    Pieces(Box<dyn Pieces>),
    /// `declared` bytes are promised, fewer come.
    Broken(Broken),
    /// Byte by byte.
    Trickle(Box<Trickle>),
}

/// The beginning of a body that is never completed.
pub struct Broken {
    declared: u64,
    begun: Option<Bytes>,
    flushed: bool,
    end: Abort,
}

/// See [`Body::trickling`].
pub struct Trickle {
    inner: Body,
    rest: Bytes,
    every: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Body {
    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes), None)
    }

    /// No bytes.
    pub fn empty() -> Self {
        Self::Whole(None, None)
    }

    /// These bytes; `then` runs just before they are handed over, and is dropped unrun when the
    /// client has left.
    pub fn whole_then(bytes: Bytes, then: impl FnOnce() + Send + 'static) -> Self {
        Self::Whole(Some(bytes), Some(Box::new(then)))
    }

    /// The first half of these bytes under the length of all, then `end`.
    pub fn broken(bytes: &Bytes, end: Abort) -> Self {
        Self::Broken(Broken {
            declared: bytes.len() as u64,
            begun: Some(bytes.slice(..bytes.len() / 2)),
            flushed: false,
            end,
        })
    }

    /// The same bytes, one at a time.
    #[must_use]
    pub fn trickling(self, every: Duration) -> Self {
        Self::Trickle(Box::new(Trickle {
            inner: self,
            rest: Bytes::new(),
            every,
            sleep: Box::pin(sleep_until(Instant::now())),
        }))
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Polled {
        match self {
            Self::Whole(bytes, then) => {
                if let Some(then) = then.take() {
                    then();
                }
                Poll::Ready(bytes.take().map(Ok))
            }
            Self::Lines(lines) => lines.poll_recv(context),
            Self::Pieces(pieces) => pieces.poll_piece(context),
            Self::Broken(broken) => broken.poll(context),
            Self::Trickle(trickle) => trickle.poll(context),
        }
    }
}

impl Broken {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        if let Some(bytes) = self.begun.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(bytes)));
        }
        // Pending once lets the connection flush what it has before it breaks.
        if !std::mem::replace(&mut self.flushed, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(self.end)))
    }
}

impl Trickle {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        if self.rest.is_empty() {
            match ready!(self.inner.poll_bytes(context)) {
                Some(Ok(bytes)) => self.rest = bytes,
                end => return Poll::Ready(end),
            }
        }
        ready!(self.sleep.as_mut().poll(context));
        self.sleep.as_mut().reset(Instant::now() + self.every);
        let at = self.rest.len().min(1);
        Poll::Ready(Some(Ok(self.rest.split_to(at))))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.get_mut()
            .poll_bytes(context)
            .map(|polled| polled.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None, None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Broken(broken) => SizeHint::with_exact(broken.declared),
            Self::Trickle(trickle) if trickle.rest.is_empty() => trickle.inner.size_hint(),
            Self::Trickle(_) | Self::Lines(_) | Self::Pieces(_) => SizeHint::default(),
        }
    }
}
