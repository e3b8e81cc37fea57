//! One connection: hyper until it ends, is broken on purpose, or the server goes away.

use std::error::Error as _;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Body;

/// Breaks the connection instead of ending the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// As a process that ends with data unread: the peer sees a reset.
    #[error("connection reset on purpose")]
    Reset,
    /// The socket is closed in the middle of the answer.
    #[error("connection closed on purpose")]
    Close,
}

/// Serves requests with `answer` until the connection ends or `cut`.
///
/// Headers are written in Go's case. Small frames are copied into one write: a burst of tokens
/// costs one system call, while a token that had to be waited for is flushed at once.
pub async fn serve<F>(
    stream: TcpStream,
    cut: CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F + Unpin,
) where
    F: Future<Output = Result<Response<Body>, Abort>>,
{
    // Without it the kernel may hold a token back; with it failing there is no connection to serve.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(answer);
    let mut connection = http1::Builder::new()
        .title_case_headers(true)
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        biased;
        () = cut.cancelled() => return,
        ended = &mut connection => ended,
    };
    let wants_reset = ended.is_err_and(|error| {
        let cause = error
            .source()
            .and_then(|cause| cause.downcast_ref::<Abort>());
        cause == Some(&Abort::Reset)
    });
    if wants_reset {
        reset(&connection.into_parts().io.into_inner());
    }
}

/// Makes the close of this socket a reset.
pub fn reset(stream: &TcpStream) {
    // Where it fails the connection is closed all the same, which is what matters.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
