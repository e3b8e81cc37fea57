//! How a server can fail a request, and what follows.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A server that asks for more than this is tried again all the same.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// How a server failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens there, or its host cannot be reached.
    Refused,
    /// No connection: its name does not resolve, or connecting takes too long. Connections that are open
    /// may work all the same.
    NotConnected,
    /// The connection ended before the first byte, or inside the answer.
    Broken,
    /// Connected, and no byte for longer than allowed.
    Silent,
    /// Several clients in a row left because there was no first byte for much longer than usual.
    Abandoned,
    /// An error status that is the server's or the request's: see [`Comparison`](super::Comparison).
    Status,
    /// It could not load the model.
    Load,
    /// It takes no more now; until then, if it has said so.
    Busy(Option<Pause>),
    /// A refusal between servers, with this status: the router's key, a login, a proxy without the path.
    Rejected(u16),
    /// It does not have the model it listed.
    Missing,
    /// It does not have this API: says nothing about its health.
    Unsupported,
    /// It was found down while the request waited: known already.
    Ejected,
    /// It is a router that this request has passed before: says nothing about its health.
    Revisited,
    /// Its answers have come from this router itself: it is no server to send to.
    Loop,
}

/// For how long a server has asked for nothing, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// 429 or 503.
    pub status: u16,
    /// For how long, from when it was said.
    pub length: Duration,
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// For requests for the same model.
    pub avoid: Avoid,
    /// For the server.
    pub server: OnServer,
}

/// Whether requests for one model avoid one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Avoid {
    /// No.
    No,
    /// For a second, doubling while it goes on; then one request at a time tries it.
    Doubling,
    /// Entirely, for so long.
    For(Pause),
}

/// What is done about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnServer {
    /// Nothing.
    Nothing,
    /// It is probed now.
    Probe,
    /// It gets no new requests until a probe has an answer.
    Suspend,
    /// The model leaves its list, which is asked for again.
    Forget,
    /// It is down, and what it lists is this router's own.
    Disown,
}

impl Fault {
    /// What follows.
    #[must_use]
    pub fn consequence(self) -> Consequence {
        let (avoid, server) = match self {
            Self::Refused => (Avoid::No, OnServer::Suspend),
            Self::NotConnected | Self::Broken | Self::Silent | Self::Abandoned => {
                (Avoid::Doubling, OnServer::Probe)
            }
            Self::Status | Self::Load | Self::Rejected(_) | Self::Busy(None) => {
                (Avoid::Doubling, OnServer::Nothing)
            }
            Self::Busy(Some(Pause { status, length })) => {
                let length = length.min(LONGEST_RETRY_AFTER);
                (Avoid::For(Pause { status, length }), OnServer::Nothing)
            }
            Self::Missing => (Avoid::No, OnServer::Forget),
            Self::Unsupported | Self::Ejected | Self::Revisited => (Avoid::No, OnServer::Nothing),
            Self::Loop => (Avoid::No, OnServer::Disown),
        };
        Consequence { avoid, server }
    }

    /// Its name, as reports spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NotConnected => "not_connected",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Abandoned => "abandoned",
            Self::Status => "status",
            Self::Load => "load",
            Self::Busy(_) => "busy",
            Self::Rejected(_) => "rejected",
            Self::Missing => "missing",
            Self::Unsupported => "unsupported",
            Self::Ejected => "ejected",
            Self::Revisited => "revisited",
            Self::Loop => "loop",
        }
    }
}

impl fmt::Display for Fault {
    /// For people, as the end of "the server …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(status) => write!(f, "refuses the router's requests: status {status}"),
            other => f.write_str(other.name()),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_each_fault() {
        let busy = |seconds| {
            let length = Duration::from_secs(seconds);
            Fault::Busy(Some(Pause {
                status: 429,
                length,
            }))
        };
        let rows = [
            Fault::Refused,
            Fault::NotConnected,
            Fault::Broken,
            Fault::Silent,
            Fault::Abandoned,
            Fault::Status,
            Fault::Load,
            Fault::Busy(None),
            busy(5),
            busy(86_400),
            Fault::Rejected(401),
            Fault::Missing,
            Fault::Unsupported,
            Fault::Ejected,
            Fault::Revisited,
            Fault::Loop,
        ];
        let rows = rows.map(|fault| {
            let Consequence { avoid, server } = fault.consequence();
            format!("{}: {avoid:?}, {server:?}", fault.name())
        });
        insta::assert_snapshot!(rows.join("\n"), @r"
        refused: No, Suspend
        not_connected: Doubling, Probe
        broken: Doubling, Probe
        silent: Doubling, Probe
        abandoned: Doubling, Probe
        status: Doubling, Nothing
        load: Doubling, Nothing
        busy: Doubling, Nothing
        busy: For(Pause { status: 429, length: 5s }), Nothing
        busy: For(Pause { status: 429, length: 600s }), Nothing
        rejected: Doubling, Nothing
        missing: No, Forget
        unsupported: No, Nothing
        ejected: No, Nothing
        revisited: No, Nothing
        loop: No, Disown
        ");
    }
}
