//! Faults of a database.

use std::time::Duration;

use super::ProxiedServer;
use herdsman_test_support::Network;

/// One way a database stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// `SIGSTOP`: the kernel accepts, the process does not answer.
    Stop,
    /// Packets are dropped both ways.
    BlackHole,
    /// Packets are dropped on their way back.
    NoReplies,
    /// Connections are accepted, bytes are lost.
    Silent,
    /// Connections are reset and refused.
    Refuse,
    /// It became a replica.
    ReadOnly,
    /// `DEBUG SLEEP`, for four seconds.
    Sleep,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::Stop,
        Self::BlackHole,
        Self::NoReplies,
        Self::Silent,
        Self::Refuse,
        Self::ReadOnly,
        Self::Sleep,
    ];

    /// Begins now.
    pub async fn inject(self, proxied: &ProxiedServer) {
        match self {
            Self::Kill => proxied.server.kill(),
            Self::Stop => proxied.server.pause(),
            Self::BlackHole => proxied.network.set(Network::BlackHole).await,
            Self::NoReplies => proxied.network.set(Network::NoReplies).await,
            Self::Silent => proxied.network.set(Network::Silent).await,
            Self::Refuse => proxied.network.set(Network::Refusing).await,
            Self::ReadOnly => proxied.server.become_replica().await,
            Self::Sleep => proxied.server.sleep(Duration::from_secs(4)).await,
        }
    }

    /// Is over, and the database serves again when this returns.
    pub async fn clear(self, proxied: &ProxiedServer) {
        match self {
            Self::Kill => proxied.server.restart().await,
            Self::Stop => proxied.server.resume(),
            Self::ReadOnly => proxied.server.become_master().await,
            Self::Sleep => proxied.server.run("PING").await,
            _ => proxied.network.set(Network::Whole).await,
        }
    }
}
