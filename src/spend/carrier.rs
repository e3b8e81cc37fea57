//! What brings a sealed batch from the process that counted to the one that writes to the database.
//!
//! A carrier may lose a batch, bring it twice, or bring it late: the journal hands out again what is
//! not settled, and the database takes an id once. So it promises nothing, and needs no answer.

use std::sync::Arc;

use super::settlement::Settlement;
use super::{courier, flush};
use crate::store::SealedBatch;

/// One variant for each road.
#[derive(Clone)]
pub(super) enum Carrier {
    /// The process that counts is the one that writes.
    InProcess(flush::Handle),
    /// Whoever leads writes.
    Redis(courier::Handle),
}

impl Carrier {
    /// Sends a batch on its way.
    pub(super) fn carry(&self, batch: Arc<SealedBatch>) {
        match self {
            Self::InProcess(flush) => flush.offer(batch),
            Self::Redis(courier) => courier.carry(batch),
        }
    }

    /// Someone waits for what was carried: do not let it gather.
    pub(super) fn hurry(&self) {
        match self {
            Self::InProcess(flush) => flush.hurry(),
            Self::Redis(courier) => courier.hurry(),
        }
    }

    /// These have arrived.
    pub(super) fn settled(&self, settlements: Vec<Settlement>) {
        match self {
            Self::InProcess(_) => {}
            Self::Redis(courier) => courier.settled(settlements),
        }
    }
}
