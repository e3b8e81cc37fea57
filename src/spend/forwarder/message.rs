//! The messages of the forwarder.

use std::sync::Arc;

use super::state::QueryResult;
use crate::spend::queue::InTransit;
use crate::spend::settlement::Settlement;
use crate::store::{BatchId, SealedBatch};
use crate::supervision::Reply;

/// Through its handle, and by the tasks that ask Redis and SQL.
#[derive(Debug)]
pub(in crate::spend) enum Message {
    /// A batch to bring to the database, perhaps not for the first time.
    Forward(Arc<SealedBatch>),
    /// Someone waits for the flush.
    FlushNow,
    /// These have arrived.
    Settled(Vec<Settlement>),
    /// The append of these ended: the entries of those that Redis took, the first ones.
    Sent(Vec<BatchId>, Vec<String>),
    /// What has become of those in the stream; `None` when nobody could say.
    Queried(Option<QueryResult>),
    /// How many batches are where?
    InTransit(Reply<InTransit>),
}
