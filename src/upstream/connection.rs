//! One connection, driven by the request that uses it.
//!
//! hyper's client is made of two halves, of which one is usually given a task of its own. Here both
//! stay with the request: its task reads and writes the socket itself, so that a piece costs one
//! wake-up and not three, and dropping the request closes the socket in the same instant.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;

/// What a connection runs over.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connection<B> = http1::Connection<Stream, B>;

/// Both halves of a connection, for requests with bodies of this type.
pub(super) struct HttpConnection<B: Body + 'static = Full<Bytes>> {
    sender: SendRequest<B>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<Connection<B>>>>,
}

impl<B> HttpConnection<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Starts HTTP on a new stream.
    pub(super) async fn over(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(stream)
            .await
            .map_err(|error| Failure::from_exchange(&error))?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn exchange(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(self.sender.send_request(request));
        let answered = poll_fn(|cx| {
            let ended = poll(&mut self.connection, cx);
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(answered.map_err(|error| Failure::from_exchange(&error)));
            }
            match ended {
                Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::from_exchange(&error))),
                Poll::Ready(Ok(())) => {
                    Poll::Ready(Err(Failure::Closed("the server closed it".to_owned())))
                }
                Poll::Pending => Poll::Pending,
            }
        });
        answered.await
    }

    /// Moves bytes. Errors are seen by the reader of the answer.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let _ = poll(&mut self.connection, cx);
    }

    /// Whether it can carry another request: it is open, and the last answer is over.
    pub(super) fn is_ready(&mut self) -> bool {
        // No task waits for what this may find out.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

fn poll<B>(
    connection: &mut Option<Pin<Box<Connection<B>>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), hyper::Error>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(open) = connection else {
        return Poll::Ready(Ok(()));
    };
    let ended = open.as_mut().poll(cx);
    if ended.is_ready() {
        *connection = None;
    }
    ended
}
