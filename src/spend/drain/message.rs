//! What the drain is told.

use ractor::RpcReplyPort;

use super::state::Ended;

/// By its timer, by its round, and through its handle.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// Time for a round.
    Due,
    /// The round is over.
    Ended(Ended),
    /// No more rounds; say when the last one is over.
    Rest(RpcReplyPort<()>),
}
