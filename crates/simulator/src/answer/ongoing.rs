//! What a running answer occupies, and its counters: started once, then finished, failed or
//! cancelled, exactly once, whichever way its future ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::catalogue::Entry;
use crate::scheduler::Lease;

/// Dropped unsettled it counts as cancelled, and what was decoded for it as wasted.
pub struct Ongoing {
    entry: Arc<Entry>,
    lease: Option<Lease>,
    emitted: u64,
    decoding: Option<Decoding>,
    reading: Option<Reading>,
    leaks: bool,
    settled: bool,
}

/// An answer that is not streamed: what it has decoded is computed from the elapsed time.
struct Decoding {
    since: Instant,
    interval: Duration,
    of: u64,
}

/// A prompt whose reading does not stop when the client leaves.
struct Reading {
    until: Instant,
    tracker: TaskTracker,
}

impl Ongoing {
    /// Counts it as started.
    pub fn begin(entry: Arc<Entry>) -> Self {
        entry.stats.started.fetch_add(1, Relaxed);
        Self {
            entry,
            lease: None,
            emitted: 0,
            decoding: None,
            reading: None,
            leaks: false,
            settled: false,
        }
    }

    /// The model.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Takes its lease of a runner, to be given back when it is settled.
    pub fn occupy(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// The lease.
    pub fn lease(&mut self) -> Option<&mut Lease> {
        self.lease.as_mut()
    }

    /// Its slot will not come back.
    pub fn leak(&mut self) {
        self.leaks = true;
    }

    /// The slot stays busy until then, also when the client leaves.
    pub fn reads_until(&mut self, until: Instant, tracker: &TaskTracker) {
        self.reading = Some(Reading {
            until,
            tracker: tracker.clone(),
        });
    }

    /// The prompt has been read.
    pub fn has_read(&mut self) {
        self.reading = None;
    }

    /// Decodes `of` tokens without writing them, one each `interval`.
    pub fn decodes(&mut self, since: Instant, interval: Duration, of: usize) {
        self.decoding = Some(Decoding {
            since,
            interval,
            of: of as u64,
        });
    }

    /// One more token was written.
    pub fn emitted(&mut self) {
        self.emitted += 1;
    }

    /// Answered to the end.
    pub fn finish(&mut self, prompt_tokens: u64, eval_tokens: u64) {
        let stats = &self.entry.stats;
        stats.prompt_tokens.fetch_add(prompt_tokens, Relaxed);
        stats.eval_tokens.fetch_add(eval_tokens, Relaxed);
        stats.finished.fetch_add(1, Relaxed);
        self.settle();
    }

    /// Ended by an error.
    pub fn fail(&mut self) {
        self.waste();
        self.entry.stats.failed.fetch_add(1, Relaxed);
        self.settle();
    }

    fn settle(&mut self) {
        self.settled = true;
        if self.leaks
            && let Some(lease) = &mut self.lease
        {
            lease.leak_slot();
        }
        self.lease = None;
    }

    fn waste(&self) {
        let hidden = self.decoding.as_ref().map_or(0, |decoding| {
            let elapsed = decoding.since.elapsed().as_nanos();
            let tokens = elapsed.checked_div(decoding.interval.as_nanos());
            tokens.map_or(decoding.of, |tokens| decoding.of.min(tokens as u64))
        });
        self.entry
            .stats
            .wasted_tokens
            .fetch_add(self.emitted + hidden, Relaxed);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.waste();
        self.entry.stats.cancelled.fetch_add(1, Relaxed);
        if let (Some(reading), Some(lease)) = (self.reading.take(), self.lease.take()) {
            reading.tracker.spawn(async move {
                sleep_until(reading.until).await;
                drop(lease);
            });
        }
        self.settle();
    }
}
