//! Which batches are owed to the database, and which segments must stay because of them. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::aggregate::Aggregate;
use super::disk::SegmentName;
use crate::spend::SpendStats;
use crate::spend::payload::timed_rows;
use crate::store::{BatchId, SealedBatch};

/// Everything sealed and not yet known to be applied.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    batches: BTreeMap<BatchId, Owed>,
    segments: HashMap<SegmentName, Segment>,
    records: u64,
    rows: u64,
    bytes: u64,
    oldest: Option<i64>,
}

#[derive(Debug)]
struct Owed {
    segment: SegmentName,
    batch: Arc<SealedBatch>,
    /// The disk has it: it may be handed out.
    ready: bool,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: u64,
    owed: usize,
    /// Still being written.
    open: bool,
    damaged: bool,
}

/// A segment nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) name: SegmentName,
    /// Something was wrong with it: kept under another name.
    pub(super) damaged: bool,
}

impl Ledger {
    /// A segment left behind by a former process.
    pub(super) fn found(&mut self, name: SegmentName, bytes: u64, damaged: bool) {
        let segment = Segment {
            damaged,
            ..Segment::default()
        };
        self.segments.insert(name, segment);
        self.grown(name, bytes);
    }

    /// A segment we begin.
    pub(super) fn opened(&mut self, name: SegmentName) {
        let segment = Segment {
            open: true,
            ..Segment::default()
        };
        self.segments.insert(name, segment);
    }

    /// Its length changed.
    pub(super) fn grown(&mut self, name: SegmentName, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&name) {
            self.bytes = self.bytes - segment.bytes + bytes;
            segment.bytes = bytes;
        }
    }

    /// Nothing more will be written to it.
    pub(super) fn closed(&mut self, name: SegmentName) {
        if let Some(segment) = self.segments.get_mut(&name) {
            segment.open = false;
        }
    }

    /// A batch that lies whole in `segment`. One that is known already, because someone copied a
    /// segment, holds no second file.
    pub(super) fn owe(&mut self, segment: SegmentName, batch: Arc<SealedBatch>, ready: bool) {
        if self.batches.contains_key(&batch.id) {
            return;
        }
        self.records += batch.records;
        self.rows += timed_rows(&batch);
        self.oldest = self.oldest.into_iter().chain([batch.oldest]).min();
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.owed += 1;
        }
        let owed = Owed {
            segment,
            batch,
            ready,
        };
        self.batches.insert(owed.batch.id, owed);
    }

    /// From now on it may be handed out.
    pub(super) fn ready(&mut self, id: BatchId) -> Option<Arc<SealedBatch>> {
        let owed = self.batches.get_mut(&id)?;
        owed.ready = true;
        Some(Arc::clone(&owed.batch))
    }

    /// Everything that may be handed out.
    pub(super) fn all_ready(&self) -> impl Iterator<Item = Arc<SealedBatch>> + '_ {
        let ready = self.batches.values().filter(|owed| owed.ready);
        ready.map(|owed| Arc::clone(&owed.batch))
    }

    /// It is in the database. Returns it the first time it is said.
    pub(super) fn settle(&mut self, id: BatchId) -> Option<Arc<SealedBatch>> {
        let owed = self.batches.remove(&id)?;
        self.records -= owed.batch.records;
        self.rows -= timed_rows(&owed.batch);
        if let Some(segment) = self.segments.get_mut(&owed.segment) {
            segment.owed -= 1;
        }
        if self.oldest == Some(owed.batch.oldest) {
            self.oldest = self.batches.values().map(|owed| owed.batch.oldest).min();
        }
        Some(owed.batch)
    }

    /// Segments that hold nothing owed. They stay known until [`Ledger::removed`].
    pub(super) fn spent(&self) -> Vec<Spent> {
        let spent = self.segments.iter().filter(|(_, s)| !s.open && s.owed == 0);
        spent
            .map(|(&name, segment)| Spent {
                name,
                damaged: segment.damaged,
            })
            .collect()
    }

    pub(super) fn removed(&mut self, name: SegmentName) {
        self.grown(name, 0);
        self.segments.remove(&name);
    }

    /// All segments together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Shows how much is owed, with what is in the batch that is still `open`.
    pub(super) fn publish(&self, open: &Aggregate, stats: &SpendStats) {
        let batches = self.batches.len() as u64 + u64::from(!open.is_empty());
        stats.batches.store(batches, Relaxed);
        stats.rows.store(self.rows + open.rows(), Relaxed);
        stats.owed.store(self.records + open.records(), Relaxed);
        let oldest = self.oldest.into_iter().chain(open.oldest()).min();
        stats.oldest.store(oldest.unwrap_or(i64::MAX), Relaxed);
        stats.journal_bytes.store(self.bytes, Relaxed);
    }
}
