//! HTTP to one server.
//!
//! Owns connections and the classification of what can go wrong on them. It knows nothing of
//! models, slots or other servers: one request is one try, and whether to try elsewhere is the
//! gateway's decision. It fails by value: every error is a [`Failure`] that says whether the
//! server was reached at all, because that is what ejection and retry are decided by.
//!
//! Connections are HTTP/1.1, pooled per server, with `TCP_NODELAY` (without it every streamed
//! piece waits up to 40 ms for a delayed ACK). Dropping a request or its body closes its
//! connection, which is how Ollama learns that the client has left.

mod answer;
mod client;
mod coding;
mod connection;
mod failure;
mod headers;
mod pool;
mod remote;
mod target;
mod upload;

pub use answer::{AnswerBody, BodyError};
pub use client::{Client, Fetched};
pub use failure::Failure;
pub use headers::strip_response;
pub use pool::Connections;
pub use remote::Remote;
pub use target::{InvalidTarget, Target};
pub use upload::{Piece, Upload};
