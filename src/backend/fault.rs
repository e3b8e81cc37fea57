//! How a server can fail a request, and what an error status of its answer means.

use serde::Serialize;

/// How a server failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It cannot be connected to: the server is down at once.
    Unreachable,
    /// The connection ended before the first byte, or inside the answer.
    Broken,
    /// Connected, and no byte for longer than allowed.
    Silent,
    /// An error status: counts against this server and this model only.
    Status,
    /// Its own queue is full.
    Busy,
    /// It does not have the model it listed.
    Missing,
    /// It does not have this API: says nothing about its health.
    Unsupported,
}

/// What to do with an answer of a certain status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the client's, success or refusal.
    Pass,
    /// Another server may give a better one: try that.
    Failover(Fault),
}
