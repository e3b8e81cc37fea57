//! Accepting and closing connections.
//!
//! The loop is ours because the defaults are wrong for streams: every connection gets
//! `TCP_NODELAY` (or pieces wait for delayed ACKs), limits on its head and on its idleness ([`HeadTimer`]),
//! and one on a client that has stopped reading ([`Socket`]; of one that is gone altogether `TCP_USER_TIMEOUT`
//! tells), so that none holds a slot for ever.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Front;
use super::head_timer::HeadTimer;
use super::socket::Socket;
use super::tls::Tls;

/// A head must be whole so long after its first byte, and a TLS handshake so long after the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// More headers than any client sends; above it 431.
const MAX_HEADERS: usize = 100;
/// A larger head gets 431.
const MAX_HEAD: usize = 64 << 10;
/// Pause when the system has no file descriptors left: some will come back.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// For so long a connection that has nothing to do is kept when all are to end.
const LOOK: Duration = Duration::from_millis(1);

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two requests on one connection, and before the first.
    pub idle: Duration,
    /// Without reading anything of an answer.
    pub reader: Duration,
}

/// A server that accepts.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    /// It accepts no more.
    full: CancellationToken,
    /// Connections end after what they are at.
    closing: CancellationToken,
    connections: TaskTracker,
    /// The listener, and connections over which nothing has come yet.
    fresh: TaskTracker,
}

/// What every connection is served by.
struct Service {
    front: Front,
    patience: Patience,
    tls: Option<Tls>,
    closing: CancellationToken,
    connections: TaskTracker,
    fresh: TaskTracker,
}

/// And one of them.
struct Served {
    front: Front,
    patience: Patience,
    closing: CancellationToken,
    fresh: TaskTrackerToken,
}

/// Binds and begins to accept; with `tls`, clients that speak it only.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    front: Front,
    patience: Patience,
    tls: Option<Tls>,
) -> io::Result<Server> {
    let listener = TcpListener::bind(listen).await?;
    let server = Server {
        addr: listener.local_addr()?,
        full: CancellationToken::new(),
        closing: CancellationToken::new(),
        connections: TaskTracker::new(),
        fresh: TaskTracker::new(),
    };
    let service = Service {
        front,
        patience,
        tls,
        closing: server.closing.clone(),
        connections: server.connections.clone(),
        fresh: server.fresh.clone(),
    };
    let (full, fresh) = (server.full.clone(), server.fresh.token());
    server.connections.spawn(async move {
        while let Some(accepted) = full.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => service.take(stream, peer),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(EXHAUSTED).await;
                }
            }
        }
        if let Err(error) = service.take_rest(listener) {
            tracing::warn!(%error, "connections that nobody has accepted are reset");
        }
        drop(fresh);
    });
    Ok(server)
}

impl Service {
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        prepare(&stream, self.patience);
        let served = Served {
            front: self.front.for_peer(peer, self.tls.is_some()),
            patience: self.patience,
            closing: self.closing.clone(),
            fresh: self.fresh.token(),
        };
        match self.tls.clone() {
            None => self.connections.spawn(connection(stream, served)),
            Some(tls) => self.connections.spawn(encrypted(tls, stream, served)),
        };
    }

    /// Those that the system has accepted already: closing the listener would reset them, and their clients think that
    /// they are connected.
    fn take_rest(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.take(TcpStream::from_std(stream)?, peer);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Refuses new connections, and serves those there are.
    pub fn refuse(&self) {
        self.full.cancel();
    }

    /// After that: waits until something has come over each of them.
    pub async fn heard(&self) {
        self.fresh.close();
        self.fresh.wait().await;
    }

    /// Accepts no more; requests that run go on, connections end after them.
    pub fn close(&self) {
        self.refuse();
        self.closing.cancel();
        self.connections.close();
    }

    /// Waits for the last connection.
    pub async fn closed(&self) {
        self.connections.wait().await;
    }

    /// How many connections are open, the listener included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

async fn encrypted(tls: Tls, stream: TcpStream, served: Served) {
    let accepted = tokio::select! {
        accepted = timeout(HEAD_TIMEOUT, tls.accept(stream)) => accepted,
        () = served.closing.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => connection(stream, served).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
        Err(elapsed) => tracing::debug!(%elapsed, "no TLS handshake in time"),
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, served: Served) {
    let Served {
        front,
        patience,
        closing,
        fresh,
    } = served;
    let socket = Socket::new(stream, patience.reader, fresh);
    let timer = HeadTimer {
        heard: socket.heard(),
        head: HEAD_TIMEOUT,
    };
    let mut http = http1::Builder::new();
    http.timer(timer)
        .header_read_timeout(patience.idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        // Pieces are small: one copy of a hundred bytes is cheaper than a list of three buffers.
        .writev(false);
    let connection = http.serve_connection(TokioIo::new(socket), front);
    let mut connection = std::pin::pin!(connection);
    let closed = async {
        closing.cancelled().await;
        // A timer is due when the sockets have been looked at: whatever has come by now is read first, and served.
        sleep(LOOK).await;
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = closed => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients come and go: an error on one connection is not worth more than this.
        tracing::debug!(%error, "connection ended");
    }
}

/// Without these a connection still works, only worse.
fn prepare(stream: &TcpStream, patience: Patience) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(patience.reader));
}

/// A client that was gone before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
