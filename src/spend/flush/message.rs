//! What the flush actor is told.

use std::sync::Arc;

use ractor::RpcReplyPort;

use super::state::Timer;
use crate::spend::queue::Amount;
use crate::spend::settlement::Settlement;
use crate::store::SealedBatch;

/// Through its handle, by its timer, and by the task that runs the transaction.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// A batch to write, perhaps not for the first time.
    Offer(Arc<SealedBatch>),
    /// Someone waits.
    Hurry,
    /// What was gathered has gathered for long enough, or it is time to try again.
    Due(Timer),
    /// The transaction ended: these are in the database now, or nobody knows.
    Written(Option<Vec<Settlement>>),
    /// How much is in the queue?
    Queued(RpcReplyPort<Amount>),
}
