//! What can be subscribed to.

use std::fmt;

use bytes::Bytes;

/// The three name spaces of Redis' publish/subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKind {
    /// `SUBSCRIBE`: a channel by its exact name.
    Channel,
    /// `PSUBSCRIBE`: all channels a pattern matches.
    Pattern,
    /// `SSUBSCRIBE`: a channel of one shard of a cluster, fed by `SPUBLISH`.
    ShardChannel,
}

/// A channel, pattern or shard channel.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// Which name space.
    pub kind: TopicKind,
    /// The name; Redis takes any bytes.
    pub name: Bytes,
}

impl Topic {
    pub(super) fn new(kind: TopicKind, name: impl Into<Bytes>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TopicKind::Channel => "channel",
            TopicKind::Pattern => "pattern",
            TopicKind::ShardChannel => "shard channel",
        };
        write!(f, "{kind} {:?}", String::from_utf8_lossy(&self.name))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
