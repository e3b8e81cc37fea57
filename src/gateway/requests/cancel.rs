//! Telling one request that it is over: a flag, whoever waits for it, and the answer that nobody may be reading.
//!
//! A request that waits sees the flag at once. An answer is polled when its client has room for more, which may
//! be never, so it is told directly, by whoever cancels.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{OnceLock, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// What ends without being polled.
pub(in crate::gateway) trait Cancellable: Send + Sync {
    /// The flag is set: whoever is not being polled now ends.
    fn cancelled(&self);
}

/// A request is polled by one task at a time, so there is at most one to wake.
#[derive(Default)]
pub(super) struct Cancel {
    is_set: AtomicBool,
    waker: AtomicWaker,
    answer: OnceLock<Weak<dyn Cancellable>>,
}

impl Cancel {
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        // Pairs with the fence of who stops polling the answer: either that one sees the flag, or the answer is
        // found here.
        fence(Ordering::SeqCst);
        if let Some(answer) = self.answer.get().and_then(Weak::upgrade) {
            answer.cancelled();
        }
        self.waker.wake();
    }

    /// From now on this is told as well; it looks itself whether that is too late.
    pub(super) fn tell(&self, answer: Weak<dyn Cancellable>) {
        let _ = self.answer.set(answer);
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

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_set()).finish()
    }
}
