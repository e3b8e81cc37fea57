//! Answers that wait until somebody beyond this machine has their records, and how that ends: it has
//! them, or nobody has taken anything for so long that waiting helps no one. The records are owed in
//! both cases.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::Writer;
use crate::spend::journal::waiting::tell;
use crate::store::BatchId;

/// That answers do not wait any more is said no more often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

impl Writer {
    pub(super) fn arrived(&mut self, id: BatchId) {
        // Nobody waits for what former processes left.
        let own = id.producer == self.producer;
        self.waiting.arrived(own.then_some(id.seq));
    }

    /// When [`Writer::let_go`] has something to do, unless something arrives before.
    pub(in crate::spend::journal) fn due(&self) -> Option<Instant> {
        self.waiting.due()
    }

    /// Lets go of answers that have waited for Redis and the database for long enough: this disk has
    /// their records, and what is written down is counted.
    pub(in crate::spend::journal) fn let_go(&mut self, now: Instant) {
        let mut gone = false;
        while let Some(answer) = self.waiting.overdue(now) {
            gone = true;
            // Before anybody knows of it: who is told finds itself counted.
            self.stats.on_disk_only.fetch_add(1, Relaxed);
            tell(answer);
        }
        if gone && self.said.is_none_or(|said| now - said >= SAY_AGAIN) {
            self.said = Some(now);
            tracing::warn!(
                "neither Redis nor the database takes usage; answers are let go with only the journal having theirs",
            );
        }
    }
}
