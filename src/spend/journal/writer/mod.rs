//! The journal itself: appends groups of records, seals batches, and knows what the disk has.
//!
//! Has no thread and no clock; [`super::thread`] drives it, and so do the tests, step by step.
//!
//! **A batch lies whole in one segment.** A segment is left only right after a seal, so it can be
//! removed as soon as all its batches are applied, and read without any other.
//!
//! **A batch is handed out only when the disk has it**, seal and all. Otherwise the database could
//! hold a batch of which the journal, after a loss of power, remembers less. Even then nothing would
//! be counted twice, since what it remembers has the same id.
//!
//! **A failed write** is taken back, so that those who were refused are not counted, and the next
//! write starts at a clean end. A seal that cannot be written is done without: the records say
//! themselves to which batch they belong, and a full disk must not block the flush that frees it.

mod loading;
mod segments;
mod syncing;
mod withholding;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use uuid::Uuid;

use super::aggregate::Aggregate;
use super::counts::Counts;
use super::current::Current;
use super::disk::Disk;
use super::frame;
use super::ledger::Ledger;
use super::payload::{self, Record};
use super::waiting::{Answer, Waiting};
use super::{Callback, Limits, Listener, Notice};
use crate::domain::UsageRecord;
use crate::spend::settlement::Settlement;
use crate::spend::stats::JournalSnapshot;
use crate::spend::{Durability, NotRecorded, SpendStats};
use crate::store::BatchId;
use syncing::{Then, Unsynced};

/// A record, and who waits for it, if anyone.
pub(super) type Entry = (UsageRecord, Option<Answer>);

/// See the module.
pub(super) struct Writer {
    disk: Box<dyn Disk>,
    durability: Durability,
    limits: Limits,
    stats: Arc<SpendStats>,
    producer: Uuid,
    /// How many segments were begun.
    segments: u32,
    /// What their records need to be counted rightly.
    format: u32,
    current: Option<Current>,
    /// The number of the open batch.
    seq: u64,
    open: Aggregate,
    ledger: Ledger,
    counts: Counts,
    /// Waits for Redis.
    waiting: Waiting,
    /// When it was last logged that answers were released.
    warned: Option<Instant>,
    /// Waits for the disk, in the order written.
    unsynced: VecDeque<Unsynced>,
    /// A sync is under way, and covers so many of them.
    syncing: usize,
    /// A segment is being read again.
    loading: bool,
    /// It could not be, and nothing has happened since.
    unreadable: bool,
    /// Called when what was sealed before that number has been reported.
    callbacks: Vec<(u64, Callback)>,
    listener: Option<Listener>,
    buffer: Vec<u8>,
    /// A write failed, and none has succeeded since.
    unwritable: bool,
    /// The same of a sync.
    unsyncable: bool,
    /// There was no room for so many bytes, and there is hardly any now.
    full: Option<u64>,
    crowded: bool,
}

impl Writer {
    /// A journal that knows nothing but what the `ledger` of former processes says.
    pub(super) fn new(
        disk: Box<dyn Disk>,
        durability: Durability,
        limits: Limits,
        ledger: Ledger,
        stats: Arc<SpendStats>,
    ) -> Self {
        let mut writer = Self {
            disk,
            durability,
            limits,
            stats,
            producer: Uuid::now_v7(),
            segments: 0,
            format: payload::TOKENS,
            current: None,
            seq: 1,
            open: Aggregate::default(),
            counts: Counts::after(ledger.records().0),
            ledger,
            waiting: Waiting::new(limits.awaited),
            warned: None,
            unsynced: VecDeque::new(),
            syncing: 0,
            loading: false,
            unreadable: false,
            callbacks: Vec::new(),
            listener: None,
            buffer: Vec::new(),
            unwritable: false,
            unsyncable: false,
            full: None,
            crowded: false,
        };
        writer
            .stats
            .journal_limit
            .store(limits.journal_bytes, Relaxed);
        writer.remove_finished();
        writer.publish();
        writer
    }

    /// Writes a group of records with one write. Empties `group`, and answers all in it, or as soon as
    /// they may be.
    pub(super) fn append(&mut self, group: &mut Vec<Entry>, now: Instant) {
        self.raise_format(group);
        self.buffer.clear();
        group.retain_mut(|(record, answer)| {
            let fits = frame::append(&mut self.buffer, frame::RECORD, self.seq, |buffer| {
                payload::write(buffer, &Record::from(&*record));
            });
            if !fits {
                refuse(&self.stats, answer.take(), NotRecorded::TooLarge);
            }
            fits
        });
        if group.is_empty() {
            return;
        }
        let written = if self.buffer.len() as u64 > self.room() {
            self.unhealthy(&NotRecorded::Full);
            self.full = Some(self.buffer.len() as u64);
            Err(NotRecorded::Full)
        } else {
            self.write()
        };
        match written {
            Ok(()) => self.take(group, now),
            Err(why) => {
                self.publish();
                for (_, answer) in group.drain(..) {
                    refuse(&self.stats, answer, why.clone());
                }
            }
        }
    }

    /// The records of `group` are written.
    fn take(&mut self, group: &mut Vec<Entry>, now: Instant) {
        let began = self.open.is_empty();
        self.counts.recorded(group.len() as u64);
        for (record, _) in &*group {
            self.check_plausible(record);
            self.open.add(&Record::from(record));
        }
        // Whoever is answered that it is written may look at once.
        self.publish();
        for answer in group.drain(..).filter_map(|(_, answer)| answer) {
            match (self.durability, &self.current) {
                (Durability::Fsync, Some(current)) => self.unsynced.push_back(Unsynced {
                    file: Arc::clone(&current.file),
                    then: Then::Acknowledge(answer),
                }),
                (Durability::Redis, _) => self.waiting.wait(answer, now),
                // The receiver may be gone.
                _ => drop(answer.send(Ok(()))),
            }
        }
        if began {
            let pending = self.ledger.pending();
            self.notify(Notice::Unsealed { pending });
        }
        let full = |c: &Current| c.length >= self.limits.segment_bytes;
        if self.current.as_ref().is_some_and(full) {
            self.seal();
            self.leave_segment();
        } else if self.open.row_count() >= self.limits.batch_rows {
            self.seal();
        }
    }

    /// Logged once in a while, since a server that reports one such value reports many.
    fn check_plausible(&self, record: &UsageRecord) {
        if payload::is_plausible(record) {
            return;
        }
        if self
            .stats
            .capped
            .fetch_add(1, Relaxed)
            .is_multiple_of(1_000)
        {
            tracing::error!(
                endpoint = %record.endpoint, model = record.model.as_str(), nano_usd = record.charge.nano_usd,
                input = record.tokens.input, output = record.tokens.output,
                "implausible usage; it counts as the largest plausible amount",
            );
        }
    }

    /// Closes the open batch, if there is anything in it.
    pub(super) fn seal(&mut self) {
        let Some(current) = &self.current else { return };
        if self.open.is_empty() {
            return;
        }
        let (segment, file) = (current.name, Arc::clone(&current.file));
        let records = self.open.records();
        self.load_again();
        self.buffer.clear();
        frame::append(&mut self.buffer, frame::SEAL, self.seq, |buffer| {
            payload::write(buffer, &payload::Seal { records });
        });
        if let Err(error) = self.write() {
            tracing::warn!(%error, "a batch goes without its seal");
        }
        let id = BatchId {
            producer: self.producer,
            seq: self.seq,
        };
        self.seq += 1;
        self.waiting.sealed(id.seq);
        let batch = Arc::new(mem::take(&mut self.open).seal(id));
        self.ledger.add(segment, batch, false);
        self.unsynced.push_back(Unsynced {
            file,
            then: Then::HandOut(id),
        });
        self.publish();
    }

    /// Redis has these.
    pub(super) fn held(&mut self, ids: &[BatchId]) {
        for &id in ids {
            self.ledger.held(id);
            self.arrived(id);
        }
    }

    /// These are in the database: forgets them, and the segments only they needed.
    pub(super) fn forget(&mut self, settlements: &[Settlement]) {
        for &Settlement { id, dead } in settlements {
            self.arrived(id);
            if let Some(settled) = self.ledger.settle(id) {
                self.counts.settled(settled, dead);
            }
        }
        // At once, and not behind the removal of files: whoever adds up looks at both.
        self.publish();
        self.load_again();
        self.call_settled();
        self.remove_finished();
        self.publish();
    }

    /// From now on notices go to `listener`; at once, those about everything still pending.
    pub(super) fn attach(&mut self, listener: Listener) {
        for batch in self.ledger.all_out() {
            listener(Notice::Sealed(batch));
        }
        if !self.open.is_empty() {
            let pending = self.ledger.pending();
            listener(Notice::Unsealed { pending });
        }
        self.listener = Some(listener);
    }

    /// The last thing to call: seals, syncs, and removes what nobody needs.
    pub(super) fn close(mut self) {
        self.seal();
        self.syncing = 0;
        while let Some(file) = self.next_sync() {
            self.synced(file.sync());
        }
        self.leave_segment();
        self.remove_finished();
        self.publish();
    }

    fn failed(&self, error: &io::Error) -> NotRecorded {
        self.stats.journal_errors.fetch_add(1, Relaxed);
        let why = NotRecorded::Write(error.to_string().into());
        self.unhealthy(&why);
        why
    }

    /// Logged once, not for every request of an outage.
    fn unhealthy(&self, why: &NotRecorded) {
        if self.healthy() {
            tracing::error!(%why, "usage cannot be recorded");
        }
    }

    fn healthy(&self) -> bool {
        !(self.unwritable || self.unsyncable || self.full.is_some())
    }

    fn room(&self) -> u64 {
        let most = self.limits.journal_bytes;
        most.saturating_sub(self.ledger.bytes())
    }

    fn notify(&self, notice: Notice) {
        if let Some(listener) = &self.listener {
            listener(notice);
        }
    }

    fn publish(&mut self) {
        // Not for the first bytes that are free again: they would be taken at once.
        let enough = self.limits.segment_bytes / 8;
        let room = self.room();
        self.full = self.full.filter(|wanted| room < enough.max(*wanted));
        let (pending, found) = self.ledger.records();
        let [all, own] = self
            .counts
            .accounts(pending - found + self.open.records(), found);
        let open = u64::from(!self.open.is_empty());
        self.stats.snapshot.store(Arc::new(JournalSnapshot {
            all,
            producer: self.producer,
            own,
            batches: self.ledger.pending() as u64 + open,
            rows: self.ledger.timed_rows() + self.open.rows(),
            oldest: self
                .ledger
                .oldest()
                .into_iter()
                .chain(self.open.oldest())
                .min(),
            bytes: self.ledger.bytes(),
            healthy: self.healthy(),
        }));
        let crowded = self.stats.journal_crowded();
        if crowded && !mem::replace(&mut self.crowded, crowded) {
            let bytes = self.ledger.bytes();
            tracing::error!(bytes, "the usage journal is more than four fifths full");
        }
        self.crowded = crowded;
    }
}

fn refuse(stats: &SpendStats, answer: Option<Answer>, why: NotRecorded) {
    stats.refused.fetch_add(1, Relaxed);
    if let Some(answer) = answer {
        drop(answer.send(Err(why)));
    }
}
