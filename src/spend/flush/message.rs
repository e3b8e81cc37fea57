//! The messages of the flush actor.

use std::sync::Arc;

use crate::spend::queue::Amount;
use crate::spend::settlement::Settlement;
use crate::store::SealedBatch;
use crate::supervision::Reply;

/// Through its handle, and by the task that runs the transaction.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// A batch to write, perhaps not for the first time.
    Offer(Arc<SealedBatch>),
    /// Someone waits for the flush.
    FlushNow,
    /// The transaction ended: these are in the database now; `None`: it failed, or the outcome is unknown.
    Written(Option<Vec<Settlement>>),
    /// How much is in the queue?
    Queued(Reply<Amount>),
}
