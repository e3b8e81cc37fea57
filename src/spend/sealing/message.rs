//! The messages of the spend actor.

use std::sync::Arc;

use super::state::Ask;
use crate::spend::journal::Notice;
use crate::spend::settlement::Settlement;
use crate::store::SealedBatch;
use crate::supervision::Reply;

/// By the journal, by itself, and through its handle.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// The open batch is not empty any more, and so many are pending.
    Unsealed(usize),
    /// The disk has this batch.
    Sealed(Arc<SealedBatch>),
    /// These are in the database.
    Applied(Vec<Settlement>),
    /// The actor that the batches were sent to has restarted.
    Resend,
    /// Write all that is recorded into the database, and reply when it is there.
    Flush(Reply<()>),
    /// Everything recorded before this was asked has been reported.
    Settled(Ask),
}

impl From<Notice> for Message {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Unsealed { pending } => Self::Unsealed(pending),
            Notice::Sealed(batch) => Self::Sealed(batch),
        }
    }
}
