//! What waits until the disk has it: a request that asked for that, a batch to hand out.
//!
//! One sync is under way at a time, of one file, and covers all that was written to it before.
//!
//! **A failed sync** cannot be repeated: the kernel may have dropped what it could not write and
//! call the next attempt a success. The segment is left for a new file, those who asked for `fsync`
//! are refused, and the batches in it are handed out all the same: they are whole in memory, and the
//! database is now the safest place for them.

use std::io;
use std::mem;
use std::sync::Arc;

use super::super::disk::Segment;
use super::super::waiting::Answer;
use super::super::{Callback, Notice};
use super::{Writer, refuse};
use crate::store::BatchId;

pub(super) struct Unsynced {
    pub(super) file: Arc<dyn Segment>,
    pub(super) then: Then,
}

pub(super) enum Then {
    Acknowledge(Answer),
    HandOut(BatchId),
    /// All before this number.
    Settle(u64, Callback),
}

impl Writer {
    /// Calls `callback` when everything sealed so far has been handed out.
    pub(in crate::spend::journal) fn when_settled(&mut self, callback: Callback) {
        match self.unsynced.back() {
            None => self.when_all_notified(self.seq, callback),
            Some(last) => {
                let file = Arc::clone(&last.file);
                let then = Then::Settle(self.seq, callback);
                self.unsynced.push_back(Unsynced { file, then });
            }
        }
    }

    /// The next file to sync, one at a time: [`Writer::synced`] has to follow.
    pub(in crate::spend::journal) fn next_sync(&mut self) -> Option<Arc<dyn Segment>> {
        if self.syncing > 0 {
            return None;
        }
        let file = Arc::clone(&self.unsynced.front()?.file);
        let same = |waiting: &&Unsynced| Arc::ptr_eq(&waiting.file, &file);
        self.syncing = self.unsynced.iter().take_while(same).count();
        Some(file)
    }

    /// How the sync went that [`Writer::next_sync`] asked for.
    pub(in crate::spend::journal) fn synced(&mut self, outcome: io::Result<()>) {
        let mut covered: Vec<_> = self
            .unsynced
            .drain(..mem::take(&mut self.syncing))
            .collect();
        let failure = outcome.err().map(|error| self.failed(&error));
        let changed = std::mem::replace(&mut self.unsyncable, failure.is_some()) != self.unsyncable;
        if changed {
            self.publish();
        }
        let file = covered.first().map(|first| Arc::clone(&first.file));
        if let (Some(_), Some(file)) = (&failure, file) {
            let current = self.current.as_ref();
            if current.is_some_and(|current| Arc::ptr_eq(&current.file, &file)) {
                self.seal();
                self.leave_segment();
            }
            // What was written to it since then is not safe either: a later sync of that file
            // proves nothing.
            let (same, others): (Vec<_>, Vec<_>) = mem::take(&mut self.unsynced)
                .into_iter()
                .partition(|waiting| Arc::ptr_eq(&waiting.file, &file));
            covered.extend(same);
            self.unsynced = others.into();
        }
        for waiting in covered {
            match (waiting.then, &failure) {
                (Then::Acknowledge(answer), None) => drop(answer.send(Ok(()))),
                (Then::Acknowledge(answer), Some(why)) => {
                    refuse(&self.stats, Some(answer), why.clone());
                }
                (Then::HandOut(id), _) => {
                    if let Some(batch) = self.ledger.ready(id, failure.is_some()) {
                        self.notify(Notice::Sealed(batch));
                    }
                }
                (Then::Settle(before, callback), _) => self.when_all_notified(before, callback),
            }
        }
    }
}
