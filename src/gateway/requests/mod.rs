//! Every request from its arrival to its end: which are where now, and how the last thousand went.
//!
//! Owns one entry per request, written by the request itself alone, and read by operators at any time; the ring
//! of those that have ended; and the way to the access log. What was asked and what was answered is not in
//! an entry, and must never be.
//!
//! It must not decide anything about a request, but for one thing: an operator may cancel it. It cannot fail:
//! an entry leaves with its [`Tracked`], however a request ends.

mod cancel;
mod entry;
mod log;
mod ring;
mod sender;
mod tried;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use http::header::HeaderValue;
use tokio::time::Instant;

pub(super) use cancel::Cancellable;
pub use entry::{Phase, Request};
pub use log::{AccessLog, LogError};
use ring::Ring;
pub use sender::{Scheme, Sender};
pub(super) use tried::How;
pub use tried::Try;

use crate::protocol::Api;

/// How many of those that have ended are kept.
pub const MOST_ENDED: usize = 1_000;

/// All requests of this router. Clones share them.
#[derive(Clone, Debug)]
pub struct Requests(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    open: DashMap<u64, Arc<Request>, RandomState>,
    serials: AtomicU64,
    ended: Ring,
    counted: [AtomicU64; 3],
    log: Option<AccessLog>,
}

/// What has ended since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// All.
    pub requests: u64,
    /// Those with a status from 500 on.
    pub failed: u64,
    /// Tokens that were written.
    pub tokens: u64,
}

/// One request, while it is not over. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Tracked {
    requests: Requests,
    request: Arc<Request>,
}

impl Requests {
    /// None yet. Those that end are written to the log, if there is one.
    #[must_use]
    pub fn new(log: Option<AccessLog>) -> Self {
        Self(Arc::new(Shared {
            open: DashMap::default(),
            serials: AtomicU64::new(0),
            counted: Default::default(),
            ended: Ring::new(MOST_ENDED),
            log,
        }))
    }

    /// What has ended since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let [requests, failed, tokens] = self.0.counted.each_ref();
        Totals {
            requests: requests.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            tokens: tokens.load(Ordering::Relaxed),
        }
    }

    pub(super) fn arrived(
        &self,
        api: Api,
        id: HeaderValue,
        sender: Sender,
        at: Instant,
    ) -> Tracked {
        let serial = self.0.serials.fetch_add(1, Ordering::Relaxed);
        let request = Arc::new(Request::new(serial, api, id, sender, at));
        self.0.open.insert(serial, Arc::clone(&request));
        Tracked {
            requests: self.clone(),
            request,
        }
    }

    /// Those that are not over, in the order of their arrival.
    #[must_use]
    pub fn open(&self) -> Vec<Arc<Request>> {
        let open = self.0.open.iter();
        let mut open: Vec<_> = open.map(|entry| Arc::clone(entry.value())).collect();
        open.sort_unstable_by_key(|request| request.serial());
        open
    }

    /// The last that have ended, the last one first.
    #[must_use]
    pub fn ended(&self) -> Vec<Arc<Request>> {
        self.0.ended.newest_first()
    }

    /// The one of this id, of several the last that arrived: one that is not over, else one that is.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Request>> {
        let is = |request: &Arc<Request>| request.id() == id;
        let open = self.open().into_iter().rev().find(is);
        open.or_else(|| self.ended().into_iter().find(is))
    }

    /// Ends every request of this id that is not over; says how many there were.
    pub fn cancel(&self, id: &str) -> usize {
        let open = self.open();
        let named = open.iter().filter(|request| request.id() == id);
        named.map(|request| request.cancel()).count()
    }

    /// Ends every request whose answer comes from this server, by its generation; says how many there were.
    pub fn cancel_on(&self, generation: u64) -> usize {
        let open = self.open();
        let there = open
            .iter()
            .filter(|request| request.phase() == Phase::Streaming && request.is_on(generation));
        there.map(|request| request.cancel()).count()
    }
}

impl Tracked {
    pub(super) fn request(&self) -> &Arc<Request> {
        &self.request
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let shared = &self.requests.0;
        shared.open.remove(&self.request.serial());
        self.request.close();
        let failed = u64::from(self.request.status() >= 500);
        let [requests, failures, tokens] = shared.counted.each_ref();
        requests.fetch_add(1, Ordering::Relaxed);
        failures.fetch_add(failed, Ordering::Relaxed);
        tokens.fetch_add(self.request.output(), Ordering::Relaxed);
        if let Some(log) = &shared.log {
            log.write(&self.request);
        }
        // What was refused before anything was known of it would only push out what was not.
        if self.request.model().is_some() {
            shared.ended.push(Arc::clone(&self.request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ModelName;

    fn arrived(requests: &Requests, id: &'static str) -> Tracked {
        let id = HeaderValue::from_static(id);
        let tracked = requests.arrived(Api::OllamaChat, id, Sender::default(), Instant::now());
        let model = ModelName::parse("phi4").unwrap();
        tracked.request().asks(&model, None, true);
        tracked
    }

    fn ids(requests: &[Arc<Request>]) -> Vec<&str> {
        requests.iter().map(|request| request.id()).collect()
    }

    #[test]
    fn a_request_is_open_until_its_guard_drops_and_then_among_the_last() {
        let requests = Requests::new(None);
        let (a, b) = (arrived(&requests, "a"), arrived(&requests, "b"));
        assert_eq!(ids(&requests.open()), ["a", "b"]);
        assert_eq!(requests.find("a").unwrap().phase(), Phase::Waiting);
        drop(a);
        assert_eq!(ids(&requests.open()), ["b"]);
        drop(b);
        assert_eq!(ids(&requests.ended()), ["b", "a"]);
        let ended = requests.find("a").unwrap();
        assert_eq!((ended.phase(), ended.status()), (Phase::Ended, 499));
        let id = HeaderValue::from_static("c");
        drop(requests.arrived(Api::OllamaChat, id, Sender::default(), Instant::now()));
        assert_eq!(requests.ended().len(), 2, "nothing was known of it");
    }

    #[test]
    fn the_last_thousand_are_kept() {
        let requests = Requests::new(None);
        for _ in 0..MOST_ENDED + 7 {
            drop(arrived(&requests, "x"));
        }
        let ended = requests.ended();
        assert_eq!(ended.len(), MOST_ENDED);
        let serials: Vec<u64> = ended.iter().map(|request| request.serial()).collect();
        assert!(serials.is_sorted_by(|a, b| a > b));
        assert_eq!(serials[0], MOST_ENDED as u64 + 6);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_cancellation_is_woken_once_it_comes() {
        let requests = Requests::new(None);
        let tracked = arrived(&requests, "a");
        let request = Arc::clone(tracked.request());
        let cancelling = async {
            tokio::task::yield_now().await;
            assert_eq!(requests.cancel("b"), 0);
            assert!(!request.is_cancelled());
            assert_eq!(requests.cancel("a"), 1);
        };
        tokio::join!(request.cancelled(), cancelling);
        tracked.request().cancelled().await;
        assert!(tracked.request().is_cancelled());
    }
}
