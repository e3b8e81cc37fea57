//! Waiting for the next piece: for a limited time, and not past the end of the program.
//!
//! Most answers never wait inside their body, so what it takes to wait is made when first needed.
//! The idle time is measured from the moment the relay began to wait, so a client that reads slowly does
//! not make its server look stalled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Completion;

#[derive(Debug)]
pub(super) struct Waits {
    idle_timeout: Duration,
    cutting: CancellationToken,
    since: Option<Instant>,
    /// When waiting is over whatever comes meanwhile.
    until: Option<Instant>,
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
    /// The server has sent nothing for too long.
    Stalled,
    /// The program ends.
    Cut,
}

impl Waits {
    pub(super) fn new(completion: &Completion) -> Self {
        let (idle_timeout, cutting) = completion.limits();
        Self {
            idle_timeout,
            cutting,
            since: None,
            until: None,
            timers: None,
        }
    }

    /// A piece has come.
    pub(super) fn over(&mut self) {
        self.since = None;
    }

    /// From now on no piece may take longer than this.
    pub(super) fn limit(&mut self, idle_timeout: Duration) {
        self.idle_timeout = self.idle_timeout.min(idle_timeout);
        self.timers = None;
    }

    /// Waiting ends then, whatever comes meanwhile; with nothing, it does not any more.
    pub(super) const fn end_at(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        let idle_timeout = self.idle_timeout;
        let since = *self.since.get_or_insert_with(Instant::now);
        let stalled = since + idle_timeout;
        let deadline = self.until.map_or(stalled, |until| until.min(stalled));
        let timers = self.timers.get_or_insert_with(|| {
            Box::pin(Timers {
                stall: sleep_until(deadline),
                cut: self.cutting.clone().cancelled_owned(),
            })
        });
        let mut timers = timers.as_mut().project();
        if timers.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Woken::Cut);
        }
        if timers.stall.deadline() > deadline {
            timers.stall.as_mut().reset(deadline);
        }
        while timers.stall.as_mut().poll(cx).is_ready() {
            if timers.stall.deadline() >= deadline {
                return Poll::Ready(Woken::Stalled);
            }
            // It was set for an earlier wait. Moving it for every piece would cost more.
            timers.stall.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
