//! The journal: usage as it is written down before a client can see the end of its answer.
//!
//! Owns the segment files in `data_dir/journal`, the batch that is open, and every sealed batch until
//! it is known to be in the database. It is the pipeline's source of truth: the
//! actors above may crash at any moment, and their next incarnations ask here. It must not know where
//! batches go: it gives [`Notice`]s to whoever attached last.
//!
//! # Why a token is counted exactly once
//!
//! 1. A record is in the journal before it is acknowledged, under the number of the open batch, and
//!    no record is written under two numbers. So `{producer, number}` names a set of records for
//!    good; the producer's id is new at every start, so no number is ever used again.
//! 2. The database applies an id once, together with its content ([`crate::store`]).
//! 3. A segment is removed only when the database has said, durably, that it has every batch in it.
//!    Until then each start hands all of them out again ([`replay`]), which by 2 does no harm.
//!
//! By 1 and 3 nothing that was acknowledged is lost, by 1 and 2 nothing is counted twice. How often
//! and where a process crashes does not occur in the argument; nor does whether seals are there, nor
//! the order of anything.
//!
//! # How it fails
//!
//! A disk that fails makes [`Recorded`] resolve to an error and [`SpendStats`] show it; the next
//! write tries again. A last frame cut short by a crash is ignored: nobody was told it was written.
//! Damage in the middle costs the records it hit; the file is kept aside for a human, when what was
//! left of it is in the database. The journal grows while the database is away, up to a limit;
//! beyond it records are refused. Memory does not grow with it: batches that wait for room are read
//! again from their segments.

mod aggregate;
mod counts;
mod current;
mod disk;
mod frame;
mod gathering;
mod ledger;
mod payload;
mod recover;
mod replay;
#[cfg(test)]
mod tests;
mod thread;
mod waiting;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::settlement::Settlement;
use super::{Durability, NotRecorded, Recorded, SpendStats};
use crate::domain::UsageRecord;
use crate::store::{BatchId, SealedBatch};
use thread::Command;

/// More records than this wait for a disk that is slower than they come: the next are refused.
const MAX_QUEUED: usize = 65_536;

/// What the journal reports to its listener.
pub(super) enum Notice {
    /// The open batch is not empty any more. Said once, until it is sealed.
    Unsealed {
        /// Sealed batches that the database does not have, those that wait in their segments too.
        pending: usize,
    },
    /// The disk has this batch: it may be sent.
    Sealed(Arc<SealedBatch>),
}

/// Receives the notices, on the journal's thread: must not block.
pub(super) type Listener = Box<dyn Fn(Notice) + Send>;

/// Called, on the journal's thread, when all that was sealed before has been reported.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// How large things may grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A segment larger than this is sealed and left. Also how much of a batch that stays open,
    /// because the database is away, one crash makes the next start read again at a time.
    pub(super) segment_bytes: u64,
    /// All segments together.
    pub(super) journal_bytes: u64,
    /// A batch with more rows than this is sealed: one transaction has to manage it.
    pub(super) batch_rows: usize,
    /// Rows of batches that are handed out and neither in Redis nor in the database. What is sealed
    /// beyond that waits in its segment, and memory does not grow with an outage.
    pub(super) out_rows: usize,
    /// How long an answer waits until Redis or the database has its record, with
    /// [`Durability::Redis`].
    pub(super) awaited: Duration,
}

impl Limits {
    /// With a journal of so many bytes. A million rows are about a hundred megabytes.
    pub(super) fn within(journal_bytes: u64) -> Self {
        Self {
            // What is written last is never removed, so it must not be all there may be.
            segment_bytes: (journal_bytes / 8).min(8 << 20),
            journal_bytes,
            batch_rows: 20_000,
            out_rows: 1_000_000,
            awaited: Duration::from_secs(10),
        }
    }
}

/// The journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{}: another process uses this folder", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be made, listed or locked.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A handle to the journal. When the last one is dropped, the journal closes.
#[derive(Clone)]
pub(super) struct Journal(Arc<Inner>);

struct Inner {
    commands: Sender<Command>,
    queued: Arc<AtomicUsize>,
    durability: Durability,
    stats: Arc<SpendStats>,
}

impl Journal {
    /// Locks the folder, reads what is there, and starts. Blocks while it reads.
    pub(super) fn open(
        folder: &Path,
        durability: Durability,
        limits: Limits,
        stats: Arc<SpendStats>,
    ) -> Result<Self, OpenError> {
        let fail = |source| OpenError::Io {
            path: folder.to_owned(),
            source,
        };
        let disk = disk::Folder::open(folder)
            .map_err(fail)?
            .ok_or_else(|| OpenError::InUse(folder.to_owned()))?;
        Self::on(Box::new(disk), durability, limits, stats).map_err(fail)
    }

    fn on(
        disk: Box<dyn disk::Disk>,
        durability: Durability,
        limits: Limits,
        stats: Arc<SpendStats>,
    ) -> io::Result<Self> {
        let ledger = recover::recover(&*disk, limits, &stats)?;
        let writer = writer::Writer::new(disk, durability, limits, ledger, Arc::clone(&stats));
        let (commands, inbox) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        thread::start(writer, commands.clone(), inbox, Arc::clone(&queued))?;
        Ok(Self(Arc::new(Inner {
            commands,
            queued,
            durability,
            stats,
        })))
    }

    /// Writes a record down. Never blocks.
    pub(super) fn record(&self, record: UsageRecord) -> Recorded {
        if self.0.queued.fetch_add(1, Relaxed) >= MAX_QUEUED {
            self.0.queued.fetch_sub(1, Relaxed);
            self.0.stats.refused.fetch_add(1, Relaxed);
            return Recorded::known(Err(NotRecorded::Overloaded));
        }
        let (answer, answered) = match self.0.durability {
            Durability::Memory => (None, None),
            Durability::Journal | Durability::Fsync | Durability::Redis => {
                let (answer, answered) = oneshot::channel();
                (Some(answer), Some(answered))
            }
        };
        if self
            .0
            .commands
            .send(Command::Record((record, answer)))
            .is_err()
        {
            self.0.stats.refused.fetch_add(1, Relaxed);
            return Recorded::known(Err(NotRecorded::Stopped));
        }
        answered.map_or_else(|| Recorded::known(Ok(())), Recorded::awaited)
    }

    /// Seals the open batch, if there is anything in it.
    pub(super) fn seal(&self) {
        self.send_command(Command::Seal(None));
    }

    /// Seals, and calls `callback` when that batch, and all before it, have been reported.
    pub(super) fn seal_and(&self, callback: Callback) {
        self.send_command(Command::Seal(Some(callback)));
    }

    /// Redis has these, or had.
    pub(super) fn held(&self, ids: Vec<BatchId>) {
        if !ids.is_empty() {
            self.send_command(Command::Held(ids));
        }
    }

    /// Calls `callback` when the journal has handled all commands so far, so that its counts include
    /// them.
    pub(super) fn then(&self, callback: Callback) {
        self.send_command(Command::Then(callback));
    }

    /// These are in the database.
    pub(super) fn forget(&self, settlements: Vec<Settlement>) {
        self.send_command(Command::Forget(settlements));
    }

    /// Reports everything that is pending to `listener`, and from now on everything new.
    pub(super) fn attach(&self, listener: Listener) {
        self.send_command(Command::Attach(listener));
    }

    /// Seals what is open, syncs it, and ends the threads. Records are refused from now on.
    pub(super) async fn close(&self) {
        let (closed, when_closed) = oneshot::channel();
        self.send_command(Command::Close(closed));
        // An error means that it is closed already.
        let _ = when_closed.await;
    }

    /// Fault injection: the threads end as `kill -9` would end them, with nothing sealed or synced.
    pub(super) async fn crash(&self) {
        let (crashed, when_crashed) = oneshot::channel();
        self.send_command(Command::Crash(crashed));
        let _ = when_crashed.await;
    }

    /// After it has closed there is no receiver, and nothing to do.
    fn send_command(&self, command: Command) {
        drop(self.0.commands.send(command));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Close(oneshot::channel().0)));
    }
}
