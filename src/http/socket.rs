//! A client's socket, watched: does the client read what it is sent, and has anything come of it?
//!
//! A client that has stopped reading holds a slot of its server's, and TCP alone would let it hold that for
//! ever: the other end is there, and says that it has no room. So a write that cannot be done for
//! `reader_timeout` fails, which ends the connection as if the client had left.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// See the module; `S` is the connection, plain or with TLS.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    /// Bytes have come. Set here, cleared by who looks for the beginning of something.
    heard: Arc<AtomicBool>,
    /// Kept until the first have come.
    fresh: Option<TaskTrackerToken>,
    reader_timeout: Duration,
    /// Since when the client has taken nothing.
    stuck: Option<Instant>,
    /// Made when a client first takes nothing for a moment: most never do.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, reader_timeout: Duration, fresh: TaskTrackerToken) -> Self {
        Self {
            stream,
            heard: Arc::default(),
            fresh: Some(fresh),
            reader_timeout,
            stuck: None,
            timer: None,
        }
    }

    /// Whether bytes have come.
    pub(super) fn heard(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.heard)
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let deadline = *self.stuck.get_or_insert_with(Instant::now) + self.reader_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                let why = "the client has stopped reading";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            // It was set for an earlier moment. Moving it for every write would cost more.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
            self.fresh = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    /// TLS takes more than the client has room for, and finds out here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::task::TaskTracker;

    use super::*;

    const READER_TIMEOUT: Duration = Duration::from_millis(300);

    async fn pair() -> (Socket<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (
            Socket::new(
                accepted.unwrap().0,
                READER_TIMEOUT,
                TaskTracker::new().token(),
            ),
            client.unwrap(),
        )
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_for_too_long_ends_the_connection() {
        let (mut socket, client) = pair().await;
        let piece = vec![0; 1 << 16];
        let began = Instant::now();
        let error = loop {
            match socket.write_all(&piece).await {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= READER_TIMEOUT);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_served_however_long_it_takes() {
        let (mut socket, mut client) = pair().await;
        let began = Instant::now();
        let reader = async {
            let mut piece = vec![0; 4 << 20];
            // As long as something is read now and then.
            while began.elapsed() < 4 * READER_TIMEOUT {
                tokio::time::sleep(READER_TIMEOUT / 10).await;
                client.read_exact(&mut piece).await.unwrap();
            }
        };
        let writer = async {
            let piece = vec![0; 1 << 16];
            while let Ok(()) = socket.write_all(&piece).await {}
        };
        tokio::select! {
            () = reader => {}
            () = writer => panic!("cut off after {:?}", began.elapsed()),
        }
    }

    #[tokio::test]
    async fn whether_anything_has_come_is_known() {
        let (mut socket, mut client) = pair().await;
        let heard = socket.heard();
        assert!(!heard.load(Ordering::Relaxed));
        client.write_all(b"G").await.unwrap();
        socket.read_u8().await.unwrap();
        assert!(heard.load(Ordering::Relaxed));
    }
}
