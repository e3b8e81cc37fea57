//! What waits in its segment until there is room for it: batches to hand out, and callbacks for
//! when they are.
//!
//! One segment is read at a time, by the other thread. **One that cannot be read** is tried again
//! when something else has happened. **One that has lost something since it was written** gives what
//! is left; the rest is counted as set aside, with the file, which is kept for an operator.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use super::super::disk::{Reading, SegmentName};
use super::super::{Callback, Notice};
use super::Writer;
use crate::store::SealedBatch;

impl Writer {
    /// The next segment to read again, one at a time: [`Writer::loaded`] has to follow.
    pub(in crate::spend::journal) fn next_load(&mut self) -> Option<(SegmentName, Reading)> {
        if self.loading {
            return None;
        }
        let name = self.ledger.next_stored()?;
        self.loading = true;
        match self.disk.open(name) {
            Ok(reading) => Some((name, reading)),
            Err(error) => {
                self.unreadable(name, &error);
                None
            }
        }
    }

    /// What was in the segment that [`Writer::next_load`] asked for.
    pub(in crate::spend::journal) fn loaded(
        &mut self,
        name: SegmentName,
        found: io::Result<Vec<SealedBatch>>,
    ) {
        let loaded = match found {
            Ok(found) => self.ledger.loaded(name, found),
            Err(error) => return self.unreadable(name, &error),
        };
        self.loading = false;
        if loaded.lost > 0 {
            self.stats.journal_errors.fetch_add(1, Relaxed);
            tracing::error!(
                segment = %name, records = loaded.lost,
                "a journal segment was damaged after it was written; the rest of it is counted, and the file kept",
            );
        }
        for gone in loaded.gone {
            self.counts.settled(gone, gone.records);
        }
        for batch in loaded.batches {
            self.notify(Notice::Sealed(batch));
        }
        self.call_settled();
        self.remove_finished();
        self.publish();
    }

    /// Something has changed: what could not be read may be readable now.
    pub(super) fn load_again(&mut self) {
        if std::mem::take(&mut self.unreadable) {
            self.loading = false;
        }
    }

    /// Calls `callback` when everything sealed so far has been handed out, for the first time at least.
    pub(super) fn when_all_notified(&mut self, before: u64, callback: Callback) {
        self.callbacks.push((before, callback));
        self.call_settled();
    }

    pub(super) fn call_settled(&mut self) {
        let (ledger, producer) = (&self.ledger, self.producer);
        let over = |(before, _): &mut (u64, Callback)| !ledger.stores_before(producer, *before);
        for (_, callback) in self.callbacks.extract_if(.., over) {
            callback();
        }
    }

    /// Until [`Writer::load_again`] nothing more is read.
    fn unreadable(&mut self, name: SegmentName, error: &io::Error) {
        self.unreadable = true;
        self.stats.journal_errors.fetch_add(1, Relaxed);
        tracing::error!(segment = %name, %error, "cannot read a journal segment again");
    }
}
