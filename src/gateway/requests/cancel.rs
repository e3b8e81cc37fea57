//! Telling one request that it is over: a flag, and whoever waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// A request is polled by one task at a time, so there is at most one to wake.
#[derive(Debug, Default)]
pub(super) struct Cancel {
    is_set: AtomicBool,
    waker: AtomicWaker,
}

impl Cancel {
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        match self.is_set.load(Ordering::SeqCst) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
