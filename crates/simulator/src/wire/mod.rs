//! Sockets and bytes: the listening socket, connections, bodies, and the ways in which they break.
//!
//! Knows HTTP and nothing of models. A connection breaks by [`Abort`], raised by the code that answers
//! and carried out by the connection's own task, which alone holds the socket.

mod body;
mod connection;
mod listen_socket;

pub use body::{Body, Pieces};
pub use connection::{Abort, serve};
pub use listen_socket::{ListenSocket, accept};
