//! The answer to a record: a future the end of a response can be held back for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Resolves when a record is as durable as was configured. Always resolves, whatever crashes.
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
        if let Inner::Awaited(answer) = &mut self.0 {
            let Poll::Ready(answered) = Pin::new(answer).poll(context) else {
                return Poll::Pending;
            };
            self.0 = Inner::Known(answered.unwrap_or(Err(NotRecorded::Stopped)));
        }
        match &self.0 {
            Inner::Known(outcome) => Poll::Ready(outcome.clone()),
            Inner::Awaited(_) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn it_fits_into_a_body_and_says_the_same_however_often_it_is_asked() {
        fn fits<T: Future + Unpin + Send + 'static>(future: T) -> T {
            future
        }
        let (answer, answered) = oneshot::channel();
        let mut recorded = fits(Recorded::awaited(answered));
        assert_eq!((&mut recorded).now_or_never(), None);
        answer.send(Ok(())).unwrap();
        assert_eq!((&mut recorded).now_or_never(), Some(Ok(())));
        assert_eq!((&mut recorded).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn when_nobody_can_answer_any_more_it_is_an_error() {
        let (answer, answered) = oneshot::channel();
        drop(answer);
        let recorded = Recorded::awaited(answered).now_or_never();
        assert_eq!(recorded, Some(Err(NotRecorded::Stopped)));
    }
}
