//! The body of an answer, together with the connection it comes over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Connections;
use super::connection::HttpConnection;

/// Read to its end it gives its connection back; dropped before, it closes it.
pub struct AnswerBody {
    body: Incoming,
    connection: Option<HttpConnection>,
    connections: Arc<Connections>,
}

impl AnswerBody {
    pub(super) fn new(
        body: Incoming,
        connection: HttpConnection,
        connections: Arc<Connections>,
    ) -> Self {
        let mut answer = Self {
            body,
            connection: Some(connection),
            connections,
        };
        answer.give_back_if_over();
        answer
    }

    fn give_back_if_over(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.connections.put(connection);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(connection) = &mut this.connection {
            connection.drive(cx);
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match &frame {
            Poll::Ready(None) => this.give_back(),
            Poll::Ready(Some(Ok(_))) => this.give_back_if_over(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBody")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
