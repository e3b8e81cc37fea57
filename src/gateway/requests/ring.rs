//! The last requests that have ended: written by all, without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use super::Request;

#[derive(Debug)]
pub(super) struct Ring {
    places: Box<[ArcSwapOption<Request>]>,
    /// How many there were.
    pushed: AtomicUsize,
}

impl Ring {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: (0..most).map(|_| ArcSwapOption::empty()).collect(),
            pushed: AtomicUsize::new(0),
        }
    }

    /// In place of the oldest one.
    pub(super) fn push(&self, request: Arc<Request>) {
        let pushed = self.pushed.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = self.places.get(pushed % self.places.len()) {
            place.store(Some(request));
        }
    }

    /// One that is being pushed may be missing.
    pub(super) fn newest_first(&self) -> Vec<Arc<Request>> {
        let (count, next) = (self.places.len(), self.pushed.load(Ordering::Relaxed));
        let newest_first = (1..=count).map(|back| (next + count - back) % count);
        newest_first
            .filter_map(|at| self.places.get(at)?.load_full())
            .collect()
    }
}
