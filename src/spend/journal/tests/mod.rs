//! The journal on a disk that fails on command, driven step by step.

mod faults;
mod interleavings;
mod loading;
mod simulated_disk;
mod withholding;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::recover::{recover, reload};
use super::writer::Writer;
use super::{Limits, Notice};
use crate::domain::{Charge, ModelName, TokenCounts, UsageRecord};
use crate::spend::settlement::Settlement;
use crate::spend::{Durability, NotRecorded, SpendStats};
use crate::store::{BatchId, SealedBatch};
use simulated_disk::SimulatedDisk;

/// Small, so that a few records already fill a segment.
const LIMITS: Limits = Limits {
    segment_bytes: 600,
    journal_bytes: 100_000,
    batch_rows: 20_000,
    out_rows: 1_000_000,
    awaited: Duration::from_secs(10),
};

/// A record that can be told from all others: each number has its own minute.
fn record(number: u32) -> UsageRecord {
    UsageRecord {
        endpoint: format!("gpu-{}", number % 2).into(),
        model: ModelName::parse("llama3.2").unwrap(),
        at: i64::from(number) * 60 + 7,
        tokens: TokenCounts {
            input: u64::from(number) + 1,
            output: 1,
        },
        estimated: false,
        charge: Charge::default(),
        failed: false,
    }
}

fn answers(answers: Vec<Answer>) -> Vec<Result<(), NotRecorded>> {
    answers
        .into_iter()
        .map(|mut answer| answer.try_recv().expect("answered"))
        .collect()
}

fn ids(batches: &[Arc<SealedBatch>]) -> Vec<BatchId> {
    batches.iter().map(|batch| batch.id).collect()
}

fn numbers(batches: &[Arc<SealedBatch>]) -> Vec<i64> {
    let mut numbers: Vec<i64> = batches
        .iter()
        .flat_map(|batch| &batch.rows)
        .map(|row| row.minute / 60)
        .collect();
    numbers.sort_unstable();
    numbers
}

/// A process: a writer, and its notices so far.
struct Process {
    writer: Writer,
    stats: Arc<SpendStats>,
    notices: Receiver<Notice>,
    now: Instant,
}

type Answer = oneshot::Receiver<Result<(), NotRecorded>>;

impl Process {
    fn start(disk: &SimulatedDisk, durability: Durability) -> Self {
        Self::with_limits(disk, durability, LIMITS)
    }

    fn with_limits(disk: &SimulatedDisk, durability: Durability, limits: Limits) -> Self {
        let stats = Arc::new(SpendStats::default());
        let ledger: Ledger = recover(disk, limits, &stats).unwrap();
        let disk = Box::new(disk.clone());
        let writer = Writer::new(disk, durability, limits, ledger, Arc::clone(&stats));
        let mut process = Self {
            writer,
            stats,
            notices: channel().1,
            now: Instant::now(),
        };
        process.attach();
        process
    }

    fn attach(&mut self) {
        let (sender, notices) = channel();
        self.notices = notices;
        self.writer
            .attach(Box::new(move |notice| drop(sender.send(notice))));
    }

    fn record(&mut self, numbers: impl IntoIterator<Item = u32>) -> Vec<Answer> {
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        for number in numbers {
            let (answer, answered) = oneshot::channel();
            group.push((record(number), Some(answer)));
            answers.push(answered);
        }
        self.writer.append(&mut group, self.now);
        answers
    }

    /// The database has these.
    fn forget(&mut self, ids: &[BatchId]) {
        let whole: Vec<_> = ids.iter().copied().map(Settlement::whole).collect();
        self.writer.forget(&whole);
    }

    /// Syncs until nothing waits for the disk.
    fn sync(&mut self) {
        while let Some(file) = self.writer.next_sync() {
            let outcome = file.sync();
            self.writer.synced(outcome);
        }
    }

    /// Reads what waits in its segment until there is no room for more.
    fn load(&mut self) {
        while let Some((name, reading)) = self.writer.next_load() {
            let found = reload(name, reading);
            self.writer.loaded(name, found);
        }
    }

    /// Advances the time, and releases what is overdue.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.writer.release_overdue(self.now);
    }

    /// The batches reported since the last time.
    fn sealed(&mut self) -> Vec<Arc<SealedBatch>> {
        let sealed = |notice| match notice {
            Notice::Sealed(batch) => Some(batch),
            Notice::Unsealed { .. } => None,
        };
        self.notices.try_iter().filter_map(sealed).collect()
    }
}
