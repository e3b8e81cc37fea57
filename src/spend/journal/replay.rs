//! From the bytes a former process left behind to the batches it would have sealed. Pure.
//!
//! Nothing is sealed anew and nothing is written. Every record says which batch it belongs to, and
//! a dead producer adds no more to any of them, so its last batch is complete as it lies there,
//! sealed or not. Reading a file twice gives the same batches under the same ids; so a crash during
//! the replay, and a crash during the replay after that, change nothing.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::aggregate::Aggregate;
use super::disk::SegmentName;
use super::frame::{self, Found, Frame};
use super::payload::{self, CHARGES};
use crate::store::{BatchId, SealedBatch};

/// What one segment held.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) batches: Vec<SealedBatch>,
    /// Bytes of a last write that a crash cut short. Nobody was told that it succeeded.
    pub(super) torn: usize,
    /// Bytes in the middle that are no frames any more.
    pub(super) damaged: usize,
    /// Records that the seals of their batches say should be there.
    pub(super) missing: u64,
}

/// Written by a later version, in a format we would count wrongly.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a later version wrote it, in format {0}")]
pub(super) struct UnknownFormat(pub(super) u32);

#[derive(Default)]
struct Batch {
    sums: Aggregate,
    sealed: Option<u64>,
}

/// Reads a segment.
pub(super) fn read(name: SegmentName, bytes: &[u8]) -> Result<Replayed, UnknownFormat> {
    let mut replayed = Replayed::default();
    // The header says it too; the name will do if the header is what was damaged.
    let mut producer: Uuid = name.producer;
    let mut batches: BTreeMap<u64, Batch> = BTreeMap::new();
    for found in frame::scan(bytes) {
        match found {
            Found::Torn(range) => replayed.torn += range.len(),
            Found::Damage(range) => replayed.damaged += range.len(),
            Found::Frame(frame) if frame.kind == frame::HEADER => {
                if let Ok(header) = serde_json::from_slice::<payload::Header>(frame.payload) {
                    if header.format > CHARGES {
                        return Err(UnknownFormat(header.format));
                    }
                    producer = header.producer.parse().unwrap_or(producer);
                }
            }
            Found::Frame(frame) => {
                if !batches.entry(frame.batch).or_default().take(&frame) {
                    replayed.damaged += frame.payload.len();
                }
            }
        }
    }
    for (seq, batch) in batches {
        let there = batch.sums.records();
        replayed.missing += batch.sealed.unwrap_or(there).saturating_sub(there);
        if there > 0 {
            replayed
                .batches
                .push(batch.sums.seal(BatchId { producer, seq }));
        }
    }
    Ok(replayed)
}

impl Batch {
    /// `false` when the frame is whole and yet makes no sense.
    fn take(&mut self, frame: &Frame<'_>) -> bool {
        match frame.kind {
            frame::RECORD => match serde_json::from_slice(frame.payload) {
                Ok(record) => {
                    self.sums.add(&record);
                    true
                }
                Err(_) => false,
            },
            frame::SEAL => match serde_json::from_slice::<payload::Seal>(frame.payload) {
                Ok(seal) => {
                    self.sealed = Some(seal.records);
                    true
                }
                Err(_) => false,
            },
            _ => false,
        }
    }
}
