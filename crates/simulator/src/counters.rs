//! What a server did, for tests to compare with what a router did.
//!
//! Each model has its own cells and the sums are computed on demand, so that a request writes few
//! of them. An answer is finished when its last byte has been handed to the connection; the cells
//! are written before that byte, so that a client that has read an answer's end finds it counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// A snapshot. `started = finished + cancelled + failed +` what is in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Generations and embeddings that passed validation.
    pub started: u64,
    /// Answered to the end.
    pub finished: u64,
    /// Whose client left.
    pub cancelled: u64,
    /// Ended by an error or a fault.
    pub failed: u64,
    /// Tokens decoded for answers that were not finished.
    pub wasted_tokens: u64,
    /// Models loaded to the end.
    pub loads: u64,
    /// Loads given up because the first requester left.
    pub load_aborts: u64,
    /// Loaded models unloaded because a request wanted other options.
    pub reloads_by_signature: u64,
    /// Most slots busy at one moment, all models together.
    pub max_concurrent: usize,
    /// Most requests waiting at one moment, for a slot or for a load.
    pub max_waiting: usize,
    /// Requests of any kind on the main port.
    pub http_requests: u64,
    /// By canonical name, for models that have ever been asked.
    pub models: BTreeMap<String, ModelCounters>,
}

/// One model's part of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelCounters {
    /// As in [`Counters`].
    pub started: u64,
    /// As in [`Counters`].
    pub finished: u64,
    /// As in [`Counters`].
    pub cancelled: u64,
    /// As in [`Counters`].
    pub failed: u64,
    /// As in [`Counters`].
    pub wasted_tokens: u64,
    /// As in [`Counters`].
    pub loads: u64,
    /// Most slots of this model busy at one moment.
    pub max_concurrent: usize,
    /// Prompt tokens of finished answers.
    pub prompt_tokens: u64,
    /// Tokens emitted in finished answers.
    pub eval_tokens: u64,
}

/// One model's cells.
#[derive(Default)]
pub struct Stats {
    pub started: AtomicU64,
    pub finished: AtomicU64,
    pub cancelled: AtomicU64,
    pub failed: AtomicU64,
    pub wasted_tokens: AtomicU64,
    pub loads: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub eval_tokens: AtomicU64,
    pub busy: Gauge,
}

/// The cells that belong to no model.
#[derive(Default)]
pub struct Totals {
    pub http_requests: AtomicU64,
    pub load_aborts: AtomicU64,
    pub reloads_by_signature: AtomicU64,
    pub busy: Gauge,
    pub waiting: Gauge,
}

/// A number that goes up and down and remembers its highest.
#[derive(Default)]
pub struct Gauge {
    now: AtomicUsize,
    highest: AtomicUsize,
}

impl Gauge {
    /// One more; returns how many there are now.
    pub fn enter(&self) -> usize {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        // Reading first keeps the cache line shared while no new maximum is reached.
        if now > self.highest.load(Relaxed) {
            self.highest.fetch_max(now, Relaxed);
        }
        now
    }

    /// One fewer.
    pub fn leave(&self) {
        self.now.fetch_sub(1, Relaxed);
    }

    /// How many there ever were at once.
    pub fn highest(&self) -> usize {
        self.highest.load(Relaxed)
    }

    /// Counted until dropped, also when a future is dropped halfway.
    pub fn hold(&self) -> Held<'_> {
        self.enter();
        Held(self)
    }
}

/// See [`Gauge::hold`].
pub struct Held<'a>(&'a Gauge);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Stats {
    fn snapshot(&self) -> ModelCounters {
        ModelCounters {
            started: self.started.load(Relaxed),
            finished: self.finished.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            failed: self.failed.load(Relaxed),
            wasted_tokens: self.wasted_tokens.load(Relaxed),
            loads: self.loads.load(Relaxed),
            max_concurrent: self.busy.highest(),
            prompt_tokens: self.prompt_tokens.load(Relaxed),
            eval_tokens: self.eval_tokens.load(Relaxed),
        }
    }
}

impl Totals {
    /// Everything so far.
    pub fn snapshot<'a>(&self, models: impl Iterator<Item = (String, &'a Stats)>) -> Counters {
        let mut sum = Counters {
            load_aborts: self.load_aborts.load(Relaxed),
            reloads_by_signature: self.reloads_by_signature.load(Relaxed),
            max_concurrent: self.busy.highest(),
            max_waiting: self.waiting.highest(),
            http_requests: self.http_requests.load(Relaxed),
            ..Counters::default()
        };
        for (name, stats) in models {
            let model = stats.snapshot();
            sum.started += model.started;
            sum.finished += model.finished;
            sum.cancelled += model.cancelled;
            sum.failed += model.failed;
            sum.wasted_tokens += model.wasted_tokens;
            sum.loads += model.loads;
            if model != ModelCounters::default() {
                sum.models.insert(name, model);
            }
        }
        sum
    }
}
