//! What an error status of a server's answer means.

use std::time::Duration;

use http::StatusCode;

use crate::faults::{Fault, Pause};

/// What to do with an answer of a certain status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the client's, success or refusal.
    Pass,
    /// Another server may give a better one: try that. [`Backend::fault`](super::Backend::fault) says what this
    /// one says of its server.
    Failover,
}

/// An answer with an error status, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub struct ErrorAnswer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// When to come again, if it says so.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: &'a [u8],
}

/// What statuses mean that all kinds of servers use alike. `None` for the rest.
pub(super) fn common(answer: &ErrorAnswer<'_>) -> Option<Fault> {
    match answer.status.as_u16() {
        // What the router presents, or a proxy before the server, is refused; the client cannot help that.
        status @ (300..=399 | 401..=403 | 407) => Some(Fault::Rejected(status)),
        status @ (429 | 503) => {
            let pause = answer.retry_after.map(|length| Pause { status, length });
            Some(Fault::Busy(pause))
        }
        508 => Some(Fault::Revisited),
        500 if is_failed_load(answer.body) => Some(Fault::Load),
        _ => None,
    }
}

/// The texts with which servers say that a model could not be loaded, in lower case.
const FAILED_LOADS: [&str; 8] = [
    "more system memory",
    "resource limitations",
    "failed to load",
    "unable to load",
    "error loading",
    "timed out waiting for",
    "runner process has terminated",
    "out of memory",
];

/// A failed load is about the server's memory, and not about the request that needed it.
fn is_failed_load(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    FAILED_LOADS.iter().any(|said| text.contains(said))
}
