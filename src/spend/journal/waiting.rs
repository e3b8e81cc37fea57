//! Who waits until somebody beyond this machine has their batch. Pure.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::spend::NotRecorded;
use crate::store::BatchId;

/// Where the answer to a record goes.
pub(super) type Answer = oneshot::Sender<Result<(), NotRecorded>>;

/// Answers held back. Those that are dropped with it say that nobody records any more.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// For the batch that is open.
    open: Vec<Answer>,
    sealed: BTreeMap<BatchId, Vec<Answer>>,
}

impl Waiting {
    /// Its record is in the open batch.
    pub(super) fn wait(&mut self, answer: Answer) {
        self.open.push(answer);
    }

    /// The open batch has a name now.
    pub(super) fn sealed(&mut self, id: BatchId) {
        if !self.open.is_empty() {
            self.sealed.insert(id, std::mem::take(&mut self.open));
        }
    }

    /// It is where it was to be.
    pub(super) fn arrived(&mut self, id: BatchId) {
        for answer in self.sealed.remove(&id).unwrap_or_default() {
            // Whoever left does not want to know any more.
            let _ = answer.send(Ok(()));
        }
    }
}
