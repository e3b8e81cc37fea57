//! Reading what former processes left behind, at the start of this one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Limits;
use super::disk::{Disk, Reading, SegmentName};
use super::ledger::Ledger;
use super::replay::{self, Replayed, UnknownFormat};
use crate::spend::SpendStats;
use crate::store::SealedBatch;

/// Reads every segment. One that cannot be read is left alone and logged: a router that
/// counts everything from now on is worth more than one that does not start.
///
/// # Errors
/// When the folder cannot be listed.
pub(super) fn recover(disk: &dyn Disk, limits: Limits, stats: &SpendStats) -> io::Result<Ledger> {
    let mut ledger = Ledger::new(limits.out_rows);
    for name in disk.segments()? {
        let bytes = match disk.open(name).and_then(all) {
            Ok(bytes) => bytes,
            Err(error) => {
                stats.journal_errors.fetch_add(1, Relaxed);
                tracing::error!(segment = %name, %error, "cannot read a journal segment");
                continue;
            }
        };
        match replay::read(name, &bytes) {
            Ok(replayed) => {
                log(name, &replayed, stats);
                ledger.found(name, bytes.len() as u64, replayed.is_damaged());
                for batch in replayed.batches {
                    ledger.add(name, Arc::new(batch), true);
                }
            }
            Err(UnknownFormat(format)) => {
                stats.journal_errors.fetch_add(1, Relaxed);
                tracing::error!(segment = %name, format, "a later version wrote this journal segment");
            }
        }
    }
    Ok(ledger)
}

/// Reads a segment again, which was whole when it was written.
pub(super) fn reload(name: SegmentName, reading: Reading) -> io::Result<Vec<SealedBatch>> {
    let replayed = replay::read(name, &all(reading)?).map_err(io::Error::other)?;
    Ok(replayed.batches)
}

fn all(mut reading: Reading) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn log(name: SegmentName, replayed: &Replayed, stats: &SpendStats) {
    let records: u64 = replayed.batches.iter().map(|batch| batch.records).sum();
    if replayed.is_damaged() {
        stats.journal_errors.fetch_add(1, Relaxed);
        tracing::error!(
            segment = %name, records, damaged_bytes = replayed.damaged, missing = replayed.missing,
            "a journal segment is damaged; the rest of it is counted, and the file kept",
        );
    } else {
        tracing::info!(segment = %name, records, torn_bytes = replayed.torn, "replaying usage");
    }
}

impl Replayed {
    fn is_damaged(&self) -> bool {
        self.damaged > 0 || self.missing > 0
    }
}
