//! What may happen to a database.

use std::time::Duration;

use super::Stand;
use herdsman_test_support::Network;

/// One way a database stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// `SIGSTOP`: the kernel accepts, nobody answers.
    Stop,
    /// Packets are dropped both ways.
    BlackHole,
    /// Packets are dropped on their way back.
    NoReplies,
    /// Connections are accepted, bytes vanish.
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

    /// Happens now.
    pub async fn strike(self, stand: &Stand) {
        match self {
            Self::Kill => stand.server.kill(),
            Self::Stop => stand.server.pause(),
            Self::BlackHole => stand.network.set(Network::BlackHole).await,
            Self::NoReplies => stand.network.set(Network::NoReplies).await,
            Self::Silent => stand.network.set(Network::Silent).await,
            Self::Refuse => stand.network.set(Network::Refusing).await,
            Self::ReadOnly => stand.server.become_replica().await,
            Self::Sleep => stand.server.sleep(Duration::from_secs(4)).await,
        }
    }

    /// Is over, and the database serves again when this returns.
    pub async fn heal(self, stand: &Stand) {
        match self {
            Self::Kill => stand.server.restart().await,
            Self::Stop => stand.server.resume(),
            Self::ReadOnly => stand.server.become_master().await,
            Self::Sleep => stand.server.run("PING").await,
            _ => stand.network.set(Network::Whole).await,
        }
    }
}
