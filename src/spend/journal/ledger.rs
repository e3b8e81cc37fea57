//! Which batches are not known to be in the database, where their content is, and which segments must stay
//! because of them. Pure.
//!
//! Only so many rows are in memory: those that are handed out and have arrived nowhere yet. A batch
//! beyond that is one entry here and is in its segment, which is read again when there is room. So
//! an outage costs disk, and the start after it needs no more memory than any other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::disk::SegmentName;
use crate::spend::payload::timed_rows;
use crate::store::{BatchId, SealedBatch};

/// Everything sealed and not yet known to be applied.
#[derive(Debug)]
pub(super) struct Ledger {
    batches: BTreeMap<BatchId, Pending>,
    /// Those of them that are in their segments only.
    stored: BTreeSet<BatchId>,
    segments: HashMap<SegmentName, Segment>,
    /// Rows that are handed out and have arrived nowhere, and how many may be.
    out: usize,
    most_out: usize,
    records: u64,
    /// Of these, those of former processes.
    found: u64,
    timed_rows: u64,
    bytes: u64,
    oldest: Option<i64>,
}

#[derive(Debug)]
struct Pending {
    segment: SegmentName,
    records: u64,
    timed_rows: u64,
    rows: usize,
    oldest: i64,
    /// Records that its segment does not have any more.
    lost: u64,
    /// A former process wrote it.
    found: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Here, until the disk has it.
    Unsynced(Arc<SealedBatch>),
    /// In its segment.
    Stored,
    /// On its way; `held` by Redis, which bounds what it holds.
    Out { batch: Arc<SealedBatch>, held: bool },
}

#[derive(Debug, Default)]
struct Segment {
    bytes: u64,
    pending: usize,
    /// Still being written.
    open: bool,
    damaged: bool,
}

/// A segment that is not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) name: SegmentName,
    /// Something was wrong with it: kept under another name.
    pub(super) damaged: bool,
}

/// A batch that is not pending any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) records: u64,
    /// Of these, those that were damaged on the disk before anybody had them.
    pub(super) lost: u64,
    /// A former process wrote it.
    pub(super) found: bool,
}

/// What a segment still had when it was read again.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// To be handed out.
    pub(super) batches: Vec<Arc<SealedBatch>>,
    /// Batches of which nothing is left.
    pub(super) gone: Vec<Settled>,
    /// Records that are missing, these included.
    pub(super) lost: u64,
}

impl Ledger {
    pub(super) fn new(most_out: usize) -> Self {
        Self {
            batches: BTreeMap::new(),
            stored: BTreeSet::new(),
            segments: HashMap::new(),
            out: 0,
            most_out,
            records: 0,
            found: 0,
            timed_rows: 0,
            bytes: 0,
            oldest: None,
        }
    }

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

    /// A batch that lies whole in `segment`; `found` when a former process wrote it, and the disk has
    /// it. One that is known already, because someone copied a segment, holds no second file.
    pub(super) fn add(&mut self, segment: SegmentName, batch: Arc<SealedBatch>, found: bool) {
        let id = batch.id;
        if self.batches.contains_key(&id) {
            return;
        }
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.pending += 1;
        }
        let pending = Pending {
            segment,
            records: batch.records,
            timed_rows: timed_rows(&batch),
            rows: batch.row_count(),
            oldest: batch.oldest,
            lost: 0,
            found,
            place: Place::Unsynced(batch),
        };
        let batch_records = pending.records;
        self.records += batch_records;
        self.timed_rows += pending.timed_rows;
        self.oldest = self.oldest.into_iter().chain([pending.oldest]).min();
        self.batches.insert(id, pending);
        if found {
            self.found += batch_records;
            self.ready(id, false);
        }
    }

    /// The disk has it. Returns it if it may be handed out: there is room, or there `must` be,
    /// because it is nowhere else.
    pub(super) fn ready(&mut self, id: BatchId, must: bool) -> Option<Arc<SealedBatch>> {
        let room = must || (self.stored.is_empty() && self.out < self.most_out);
        let pending = self.batches.get_mut(&id)?;
        let Place::Unsynced(batch) = &pending.place else {
            return None;
        };
        if !room {
            pending.place = Place::Stored;
            self.stored.insert(id);
            return None;
        }
        let batch = Arc::clone(batch);
        pending.place = Place::Out {
            batch: Arc::clone(&batch),
            held: false,
        };
        self.out += pending.rows;
        Some(batch)
    }

    /// The segment to read again next, if there is room for what is in it.
    pub(super) fn next_stored(&self) -> Option<SegmentName> {
        let room = self.out <= self.most_out / 2;
        let first = self.stored.first().filter(|_| room)?;
        self.batches.get(first).map(|pending| pending.segment)
    }

    /// What was read again of `segment`.
    pub(super) fn loaded(&mut self, segment: SegmentName, found: Vec<SealedBatch>) -> Loaded {
        let mut found: HashMap<BatchId, SealedBatch> =
            found.into_iter().map(|batch| (batch.id, batch)).collect();
        let there = |id: &&BatchId| self.batches.get(id).is_some_and(|o| o.segment == segment);
        let ids: Vec<BatchId> = self.stored.iter().filter(there).copied().collect();
        let mut loaded = Loaded::default();
        for id in ids {
            let Some(pending) = self.batches.get_mut(&id) else {
                continue;
            };
            self.stored.remove(&id);
            let batch = found.remove(&id).map(Arc::new);
            pending.lost =
                pending.records - batch.as_ref().map_or(0, |b| b.records.min(pending.records));
            loaded.lost += pending.lost;
            match batch {
                Some(batch) => {
                    loaded.batches.push(Arc::clone(&batch));
                    self.out += pending.rows;
                    pending.place = Place::Out { batch, held: false };
                }
                None => loaded.gone.extend(self.settle(id)),
            }
        }
        if loaded.lost > 0
            && let Some(segment) = self.segments.get_mut(&segment)
        {
            segment.damaged = true;
        }
        loaded
    }

    /// Everything that is handed out.
    pub(super) fn all_out(&self) -> impl Iterator<Item = Arc<SealedBatch>> + '_ {
        self.batches
            .values()
            .filter_map(|pending| match &pending.place {
                Place::Out { batch, .. } => Some(Arc::clone(batch)),
                Place::Unsynced(_) | Place::Stored => None,
            })
    }

    /// Redis has it.
    pub(super) fn held(&mut self, id: BatchId) {
        if let Some(pending) = self.batches.get_mut(&id)
            && let Place::Out { held, .. } = &mut pending.place
            && !std::mem::replace(held, true)
        {
            self.out -= pending.rows;
        }
    }

    /// It is in the database. Says how much it was, the first time it is said.
    pub(super) fn settle(&mut self, id: BatchId) -> Option<Settled> {
        let pending = self.batches.remove(&id)?;
        self.stored.remove(&id);
        if matches!(pending.place, Place::Out { held: false, .. }) {
            self.out -= pending.rows;
        }
        self.records -= pending.records;
        if pending.found {
            self.found -= pending.records;
        }
        self.timed_rows -= pending.timed_rows;
        if let Some(segment) = self.segments.get_mut(&pending.segment) {
            segment.pending -= 1;
        }
        if self.oldest == Some(pending.oldest) {
            self.oldest = self.batches.values().map(|pending| pending.oldest).min();
        }
        Some(Settled {
            records: pending.records,
            lost: pending.lost,
            found: pending.found,
        })
    }

    /// Whether a batch of somebody else, or of `producer` before number `seq`, waits for room.
    pub(super) fn stores_before(&self, producer: Uuid, seq: u64) -> bool {
        let before = |id: &BatchId| id.producer != producer || id.seq < seq;
        self.stored.iter().any(before)
    }

    /// Segments that hold nothing pending. They stay known until [`Ledger::removed`].
    pub(super) fn finished(&self) -> Vec<Finished> {
        let finished = self
            .segments
            .iter()
            .filter(|(_, s)| !s.open && s.pending == 0);
        finished
            .map(|(&name, segment)| Finished {
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

    /// How many batches are pending.
    pub(super) fn pending(&self) -> usize {
        self.batches.len()
    }

    /// Records that are pending; of these, those of former processes.
    pub(super) fn records(&self) -> (u64, u64) {
        (self.records, self.found)
    }

    /// Rows that are pending and belong to a minute or a day.
    pub(super) fn timed_rows(&self) -> u64 {
        self.timed_rows
    }

    /// When the oldest record that is pending ended, in Unix seconds.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.oldest
    }
}
