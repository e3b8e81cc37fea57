//! The messages of the actor.

use std::sync::Arc;

use super::state::Question;
use crate::supervision::Reply;

/// The mailbox.
#[derive(Debug)]
pub(in crate::models) enum Message {
    /// From a call about a blob.
    Choose {
        /// Which blob, and what would be chosen now.
        question: Question,
        /// The servers.
        reply: Reply<Vec<Arc<str>>>,
    },
}
