//! The list of what was applied, kept short.
//!
//! Whoever writes says now and then that the list has grown; one pruning runs at a time, so that
//! a slow database is not asked for the same twice, and one of its few connections at most is taken
//! from those who ask what has been applied. Failing does no harm: the list is longer until the next
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio_util::task::TaskTracker;

use crate::clock;
use crate::store::Store;

/// How long, in seconds, the database lists what it has applied, before a number says it all: for
/// people who look. Where requests wait for Redis a router makes up to two hundred batches a second.
const LISTED: i64 = 300;

/// Clones are about the same list.
#[derive(Clone, Debug)]
pub(super) struct Prune {
    store: Store,
    tracker: TaskTracker,
    running: Arc<AtomicBool>,
}

impl Prune {
    pub(super) fn new(store: Store, tracker: TaskTracker) -> Self {
        Self {
            store,
            tracker,
            running: Arc::default(),
        }
    }

    /// Shortens it in the background, unless that is being done.
    pub(super) fn begin(&self) {
        if self.running.swap(true, Relaxed) {
            return;
        }
        let (store, over) = (self.store.clone(), Over(Arc::clone(&self.running)));
        self.tracker.spawn(async move {
            match store.prune_batches(clock::unix_seconds() - LISTED).await {
                Ok(gone) => tracing::debug!(gone, "shortened the list of applied batches"),
                Err(error) => tracing::warn!(%error, "cannot shorten the list of applied batches"),
            }
            drop(over);
        });
    }
}

/// However it ends, the next one may begin.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}
