//! The body of an answer, as the client gets it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::relay::Aborted;
use super::{Gateway, Relay};

/// The relay, and what happens when it is dropped before its end: nearly always nothing more than
/// that. Of a server that goes on computing, the answer is read to its end.
#[derive(Debug)]
pub struct Answer {
    /// `None` once it was dropped.
    relay: Option<Relay>,
    /// Where reading goes on without the client, if it does.
    detaches: Option<Arc<Gateway>>,
}

impl Answer {
    pub(super) const fn new(relay: Relay, detaches: Option<Arc<Gateway>>) -> Self {
        Self {
            relay: Some(relay),
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
        match &mut self.relay {
            Some(relay) => Pin::new(relay).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.relay.as_ref().is_none_or(Relay::is_end_stream)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(gateway) = self.detaches.take() else {
            return;
        };
        let Some(relay) = self.relay.take().filter(|relay| !relay.is_complete()) else {
            return;
        };
        // On the heap before it becomes part of a task.
        let mut relay = Box::new(relay);
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
