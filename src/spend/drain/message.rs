//! What the drain is told.

use super::state::Ended;
use crate::supervision::Reply;

/// By its round, and through its handle.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// The round is over.
    Ended(Ended),
    /// No more rounds; say when the last one is over.
    Finish(Reply<()>),
}
