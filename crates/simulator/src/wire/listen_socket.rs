//! The listening socket, which can be closed and opened again on the same port.
//!
//! Closing is done by the caller itself: when it returns, the next connect is refused. The
//! port stays reserved meanwhile by a socket that is bound and never listens, so that no other
//! server of a busy test run can take it.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const BACKLOG: i32 = 4096;

/// A listening socket that is open or closed.
pub struct ListenSocket {
    address: SocketAddr,
    _reservation: Socket,
    open: ArcSwapOption<Opened>,
    listeners: mpsc::UnboundedSender<(std::net::TcpListener, CancellationToken)>,
}

struct Opened {
    socket: Socket,
    cut: CancellationToken,
}

/// What the accepting task receives: each time the socket is opened, a listener and what ends it.
pub type Listeners = mpsc::UnboundedReceiver<(std::net::TcpListener, CancellationToken)>;

impl ListenSocket {
    /// Binds and opens.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn open_at(address: SocketAddr) -> io::Result<(Self, Listeners)> {
        if address.port() != 0 {
            // The shared bind below would not notice that the port is taken.
            std::net::TcpListener::bind(address)?;
        }
        let reservation = bind(address)?;
        let address = local(&reservation)?;
        let (listeners, inbox) = mpsc::unbounded_channel();
        let listen_socket = Self {
            address,
            _reservation: reservation,
            open: ArcSwapOption::empty(),
            listeners,
        };
        listen_socket.open()?;
        Ok((listen_socket, inbox))
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens it again; nothing when it is open.
    ///
    /// # Errors
    /// The system refuses the socket.
    pub fn open(&self) -> io::Result<()> {
        if self.open.load().is_some() {
            return Ok(());
        }
        let socket = bind(self.address)?;
        socket.listen(BACKLOG)?;
        let cut = CancellationToken::new();
        let listener = socket.try_clone()?.into();
        if self.listeners.send((listener, cut.clone())).is_ok() {
            self.open.store(Some(Arc::new(Opened { socket, cut })));
        }
        Ok(())
    }

    /// Refuses from now on, and cuts the connections that were accepted.
    pub fn close(&self) {
        if let Some(opened) = self.open.swap(None) {
            // Refused or not: an error means that it does not listen.
            let _ = opened.socket.shutdown(Shutdown::Both);
            opened.cut.cancel();
        }
    }
}

impl Drop for ListenSocket {
    fn drop(&mut self) {
        self.close();
    }
}

/// Accepts on every listener of a socket until the socket is dropped or `stop`.
pub async fn accept(
    mut listeners: Listeners,
    stop: CancellationToken,
    connected: impl Fn(TcpStream, CancellationToken),
) {
    loop {
        let opened = tokio::select! {
            () = stop.cancelled() => None,
            opened = listeners.recv() => opened,
        };
        let Some((listener, cut)) = opened else {
            return;
        };
        let Ok(listener) = TcpListener::from_std(listener) else {
            continue;
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = cut.cancelled() => break,
                () = stop.cancelled() => return cut.cancel(),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => connected(stream, cut.clone()),
                // Out of descriptors, or a client that left in the backlog: the next may work.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // For the reservation only; `open_at` makes sure that two servers never share a port.
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let unnamed = || io::Error::other("the socket has no internet address");
    socket.local_addr()?.as_socket().ok_or_else(unnamed)
}
