//! What a server is known not to take, for a while.
//!
//! A server that refuses something the router could do without is not asked for it each time: a request
//! would pay for the try. It may be updated or loaded with another model, so nothing is remembered for
//! longer than [`REMEMBERED`], or across a time in which it was down.
//!
//! A cell of atomics, written by whoever is refused: of two that write at once either is right.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::Api;

const REMEMBERED: Duration = Duration::from_mins(5);

/// What may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusable {
    /// To say what a stream used (`stream_options`).
    Usage,
    /// An API altogether.
    Api(Api),
}

/// What one server refuses, or one server for one model.
#[derive(Debug)]
pub struct Refusals {
    since: Instant,
    /// Until when, in milliseconds since then; zero for what is not refused.
    until: [AtomicU64; 1 + Api::ALL.len()],
}

impl Refusals {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            until: Default::default(),
        }
    }

    /// It has been refused.
    pub fn note(&self, what: Refusable, now: Instant) {
        self.until[at(what)].store(self.millis(now + REMEMBERED), Ordering::Relaxed);
    }

    /// Whether it was refused lately.
    #[must_use]
    pub fn holds(&self, what: Refusable) -> bool {
        // The clock is read only where there is something to compare.
        match self.until[at(what)].load(Ordering::Relaxed) {
            0 => false,
            until => self.millis(Instant::now()) < until,
        }
    }

    pub(super) fn forget(&self) {
        for until in &self.until {
            until.store(0, Ordering::Relaxed);
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.since).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

const fn at(what: Refusable) -> usize {
    match what {
        Refusable::Usage => 0,
        Refusable::Api(api) => 1 + api as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_remembered_for_a_while_and_nothing_else_is() {
        let refusals = Refusals::new(Instant::now());
        let chat = Refusable::Api(Api::OpenAiChat);
        assert!(!refusals.holds(chat));
        refusals.note(chat, Instant::now());
        assert!(refusals.holds(chat));
        assert!(!refusals.holds(Refusable::Usage));
        assert!(!refusals.holds(Refusable::Api(Api::OpenAiEmbeddings)));
        tokio::time::advance(REMEMBERED - Duration::from_secs(1)).await;
        refusals.note(Refusable::Usage, Instant::now());
        assert!(refusals.holds(chat));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!refusals.holds(chat) && refusals.holds(Refusable::Usage));
        refusals.forget();
        assert!(!refusals.holds(Refusable::Usage));
    }
}
