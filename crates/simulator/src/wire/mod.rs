//! Sockets and bytes: the door, connections, bodies, and the ways in which they break.
//!
//! Knows HTTP and nothing of models. A connection breaks by [`Abort`], raised by whoever answers
//! and carried out by the connection's own task, which alone holds the socket.

mod body;
mod connection;
mod door;

pub use body::{Body, Pieces};
pub use connection::{Abort, serve};
pub use door::{Door, accept};
