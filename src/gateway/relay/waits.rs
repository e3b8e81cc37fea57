//! Waiting for the next piece: not for ever, and not past the end of the program.
//!
//! Most answers never wait inside their body, so what it takes to wait is made when first needed.
//! Silence is measured from the moment the relay began to wait, so a client that reads slowly does
//! not make its server look stalled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Account;

#[derive(Debug)]
pub(super) struct Waits {
    patience: Duration,
    cutting: CancellationToken,
    since: Option<Instant>,
    timers: Option<Pin<Box<Timers>>>,
}

pin_project_lite::pin_project! {
    #[derive(Debug)]
    struct Timers {
        #[pin]
        stall: Sleep,
        #[pin]
        cut: WaitForCancellationFutureOwned,
    }
}

/// Why waiting is over without a piece.
#[derive(Debug)]
pub(super) enum Woken {
    /// The server has been silent for too long.
    Stalled,
    /// The program ends.
    Cut,
}

impl Waits {
    pub(super) fn new(account: &Account) -> Self {
        let (patience, cutting) = account.patience();
        Self {
            patience,
            cutting,
            since: None,
            timers: None,
        }
    }

    /// A piece has come.
    pub(super) fn over(&mut self) {
        self.since = None;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        let patience = self.patience;
        let since = *self.since.get_or_insert_with(Instant::now);
        let timers = self.timers.get_or_insert_with(|| {
            Box::pin(Timers {
                stall: sleep_until(since + patience),
                cut: self.cutting.clone().cancelled_owned(),
            })
        });
        let mut timers = timers.as_mut().project();
        if timers.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Woken::Cut);
        }
        while timers.stall.as_mut().poll(cx).is_ready() {
            let deadline = since + patience;
            if timers.stall.deadline() >= deadline {
                return Poll::Ready(Woken::Stalled);
            }
            // It was set for an earlier wait. Moving it for every piece would cost more.
            timers.stall.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
