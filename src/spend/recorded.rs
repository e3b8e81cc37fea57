//! The answer to a record: a future the end of a response can be held back for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Resolves when a record is as durable as was configured. Always resolves, whatever dies.
#[derive(Debug)]
#[must_use = "until it resolves the usage may still be lost"]
pub struct Recorded(Inner);

#[derive(Debug)]
enum Inner {
    Known(Result<(), NotRecorded>),
    Awaited(oneshot::Receiver<Result<(), NotRecorded>>),
}

/// Why a record is not as durable as was asked. Except for [`NotRecorded::Write`] with `fsync`,
/// where the disk said no after the bytes were written, it is not counted either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// The disk refused.
    #[error("the usage journal cannot be written: {0}")]
    Write(Arc<str>),
    /// The database has been away for so long that the journal has reached its limit.
    #[error("the usage journal is full, since the database has not taken anything from it")]
    Full,
    /// The disk is slower than the requests are.
    #[error("too many usage records are waiting for the disk")]
    Overloaded,
    /// The names in it are longer than a journal frame.
    #[error("the usage record is too large")]
    TooLarge,
    /// Shutting down, or the journal's thread is gone.
    #[error("usage is not being recorded any more")]
    Stopped,
}

impl Recorded {
    pub(super) fn known(outcome: Result<(), NotRecorded>) -> Self {
        Self(Inner::Known(outcome))
    }

    pub(super) fn awaited(answer: oneshot::Receiver<Result<(), NotRecorded>>) -> Self {
        Self(Inner::Awaited(answer))
    }
}

impl Future for Recorded {
    type Output = Result<(), NotRecorded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Known(outcome) => Poll::Ready(outcome.clone()),
            Inner::Awaited(answer) => Pin::new(answer)
                .poll(context)
                .map(|answered| answered.unwrap_or(Err(NotRecorded::Stopped))),
        }
    }
}
