//! The messages of the drain.

use super::state::Ended;
use crate::supervision::Reply;

/// By its round, and through its handle.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// The round is over.
    Ended(Ended),
    /// No more rounds; reply when the last one is over.
    Finish(Reply<()>),
}
