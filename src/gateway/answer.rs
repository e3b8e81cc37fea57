//! The body of an answer: as the client gets it, and as an operator ends it.
//!
//! A client that reads nothing keeps its connection from polling the body, and an operator who cancels its
//! request shall not have to wait for that. So the relay is in a cell from which whoever works on it takes it:
//! the connection for one poll, an operator to end it. Whoever puts it back looks afterwards whether the request was
//! cancelled meanwhile, and whoever cancels takes it afterwards: in this order, with a fence on both sides, so
//! that one of them ends it. Nobody waits for the other but the connection, for as long as ending it takes.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use crossbeam_utils::atomic::AtomicCell;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::relay::Aborted;
use super::requests::{Cancellable, Request};
use super::{Gateway, Relay};

/// The relay, and what happens when it is dropped before its end: nearly always nothing more than
/// that. Of a server that goes on computing, the answer is read to its end.
#[derive(Debug)]
pub struct Answer {
    shared: Arc<Shared>,
    is_over: bool,
    /// Where reading goes on without the client, if it does.
    detaches: Option<Arc<Gateway>>,
}

struct Shared {
    /// Empty while somebody works on it, and once the answer was dropped.
    relay: AtomicCell<Option<Box<Relay>>>,
    request: Option<Arc<Request>>,
}

const _: () = assert!(AtomicCell::<Option<Box<Relay>>>::is_lock_free());

// === impl Answer ===

impl Answer {
    pub(super) fn new(relay: Relay, detaches: Option<Arc<Gateway>>) -> Self {
        let request = relay.request().map(Arc::clone);
        let shared = Arc::new(Shared {
            relay: AtomicCell::new(Some(Box::new(relay))),
            request,
        });
        if let Some(request) = &shared.request {
            let weak: Weak<Shared> = Arc::downgrade(&shared);
            request.answers_with(weak);
            shared.look();
        }
        Self {
            shared,
            is_over: false,
            detaches,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let Some(mut relay) = self.shared.relay.take() else {
            // It is being ended at this moment.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let polled = Pin::new(&mut *relay).poll_frame(cx);
        self.is_over = relay.is_end_stream();
        self.shared.put(relay);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Where it is being ended, that is all there is to do.
        let relay = self.shared.relay.take();
        let Some(gateway) = self.detaches.take() else {
            return;
        };
        let Some(mut relay) = relay.filter(|relay| !relay.is_complete()) else {
            return;
        };
        let Some(deadline) = relay.left() else {
            return;
        };
        gateway.continue_detached(async move {
            let rest = async { while let Some(Ok(_)) = relay.frame().await {} };
            // What is not there by then is counted as far as it came.
            let _ = timeout_at(deadline, rest).await;
        });
    }
}

// === impl Shared ===

impl Shared {
    fn put(&self, relay: Box<Relay>) {
        self.relay.store(Some(relay));
        self.look();
    }

    /// Ends the answer if the request was cancelled, unless somebody else is at it.
    fn look(&self) {
        fence(Ordering::SeqCst);
        let request = self.request.as_ref();
        if request.is_some_and(|request| request.is_cancelled()) {
            self.cancelled();
        }
    }
}

impl Cancellable for Shared {
    fn cancelled(&self) {
        if let Some(mut relay) = self.relay.take() {
            relay.cancel();
            self.relay.store(Some(relay));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
