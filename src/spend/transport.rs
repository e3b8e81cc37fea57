//! What transports a sealed batch from the process that counted to the one that writes to the database.
//!
//! A transport may lose a batch, deliver it twice, or deliver it late: the journal hands out again what is
//! not settled, and the database takes an id once. So it guarantees nothing, and needs no answer.

use std::sync::Arc;

use super::settlement::Settlement;
use super::{flush, forwarder};
use crate::store::SealedBatch;

/// One variant for each path.
#[derive(Clone)]
pub(super) enum Transport {
    /// The process that counts is the one that writes.
    InProcess(flush::Handle),
    /// Whoever leads writes.
    Redis(forwarder::Handle),
}

impl Transport {
    /// Sends a batch.
    pub(super) fn send(&self, batch: Arc<SealedBatch>) {
        match self {
            Self::InProcess(flush) => flush.offer(batch),
            Self::Redis(forwarder) => forwarder.forward(batch),
        }
    }

    /// Someone waits for what was sent: do not let it gather.
    pub(super) fn flush_now(&self) {
        match self {
            Self::InProcess(flush) => flush.flush_now(),
            Self::Redis(forwarder) => forwarder.flush_now(),
        }
    }

    /// These are in the database.
    pub(super) fn settled(&self, settlements: Vec<Settlement>) {
        match self {
            Self::InProcess(_) => {}
            Self::Redis(forwarder) => forwarder.settled(settlements),
        }
    }
}
