//! `[routing]`: how a request finds its server and how long it may take on the way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Slots, duration};

/// Queueing, affinity, attempts and time limits.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Routing {
    /// For endpoints that say nothing themselves.
    pub slots: Slots,
    /// Waiting requests per model; zero refuses whatever cannot start at once.
    pub queue_limit: usize,
    /// Longest wait for a slot.
    #[serde(with = "duration")]
    pub queue_timeout: Duration,
    /// Whether a conversation goes back to the server that has its prefix cached. Not in this
    /// version: `true` is refused.
    pub affinity: bool,
    /// How long a conversation's server is remembered after its last request. Refused unless it is
    /// [`Routing::AFFINITY_TTL`] while there is no affinity.
    #[serde(with = "duration")]
    pub affinity_ttl: Duration,
    /// Tries on different servers, the first included; only before the first byte. At least 1.
    pub attempts: u32,
    /// For the TCP and TLS handshake with a server.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// From the request's last byte to the first of an answer that is streamed. Cold loads are slow, so it
    /// is long.
    #[serde(with = "duration")]
    pub first_byte_timeout: Duration,
    /// In its place for an answer that is not streamed: it begins when it is complete.
    #[serde(with = "duration")]
    pub answer_timeout: Duration,
    /// Longest silence inside an answer: a tool call is sent when it is complete.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
}

impl Routing {
    /// The default of `affinity_ttl`.
    pub const AFFINITY_TTL: Duration = Duration::from_secs(5 * 60);
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            slots: Slots::Auto,
            queue_limit: 512,
            queue_timeout: Duration::from_secs(60),
            affinity: false,
            affinity_ttl: Self::AFFINITY_TTL,
            attempts: 3,
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(10 * 60),
            answer_timeout: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(15 * 60),
        }
    }
}
