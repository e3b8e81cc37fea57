//! An answer that has begun, from whoever reads its first bytes to the relay.

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::{Format, Tail};
use crate::upstream::AnswerBody;

/// An answer that has begun, and how it is read.
pub(in crate::gateway) struct Reading {
    /// What has come of the body already.
    pub(in crate::gateway) first: Option<Bytes>,
    /// The rest of it.
    pub(in crate::gateway) body: AnswerBody,
    /// What it is to the client, should it break: something can be added to events and lines.
    pub(in crate::gateway) format: Format,
    /// Reads the answer.
    pub(in crate::gateway) tail: Tail,
    /// What has come was shown to it.
    pub(in crate::gateway) is_read: bool,
    /// It states its usage because the router asked: the client is not to see it.
    pub(in crate::gateway) hides_usage: bool,
    /// By when the answer itself has to begin, where only comments have come of it.
    pub(in crate::gateway) due: Option<Instant>,
}
