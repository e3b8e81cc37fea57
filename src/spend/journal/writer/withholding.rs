//! Answers that wait until another machine has their records, and how that ends: it has them, or
//! nothing has been accepted for so long that waiting is of no use. The records are pending in both
//! cases.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::Writer;
use crate::spend::journal::waiting::tell;
use crate::store::BatchId;

/// How often at most it is logged that answers do not wait any more.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

impl Writer {
    pub(super) fn arrived(&mut self, id: BatchId) {
        // No answers wait for batches of former processes.
        let own = id.producer == self.producer;
        self.waiting.arrived(own.then_some(id.seq));
    }

    /// When [`Writer::release_overdue`] has something to do, unless something arrives before.
    pub(in crate::spend::journal) fn due(&self) -> Option<Instant> {
        self.waiting.due()
    }

    /// Releases answers that have waited for Redis and the database for long enough: this disk has
    /// their records, and what is written down is counted.
    pub(in crate::spend::journal) fn release_overdue(&mut self, now: Instant) {
        let mut released = false;
        while let Some(answer) = self.waiting.overdue(now) {
            released = true;
            // Before the answer: whoever receives it finds the record counted.
            self.stats.on_disk_only.fetch_add(1, Relaxed);
            tell(answer);
        }
        if released
            && self
                .warned
                .is_none_or(|warned| now - warned >= WARN_INTERVAL)
        {
            self.warned = Some(now);
            tracing::warn!(
                "neither Redis nor the database accepts usage; answers end with their records only in the journal",
            );
        }
    }
}
