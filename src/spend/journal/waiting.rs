//! Which answers wait until another machine has their batch, and for how long. Pure: time is an
//! argument.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::spend::NotRecorded;

/// Where the answer to a record goes.
pub(super) type Answer = oneshot::Sender<Result<(), NotRecorded>>;

/// Answers held back. Those that are dropped with it report that recording has stopped.
///
/// No answer is held back for ever. One that has waited for as long as the limit is released; and when
/// nothing at all has arrived meanwhile, all that wait or come after are released at once: waiting for
/// a receiver that accepts nothing is of no use. As soon as a batch arrives somewhere, answers wait again.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How long an answer is held back at most.
    limit: Duration,
    /// For the batch that is open, the first to come first.
    open: VecDeque<Waiter>,
    /// By the batch's number, and so in the order they came.
    sealed: BTreeMap<u64, VecDeque<Waiter>>,
    /// How often something arrived.
    arrivals: u64,
    /// Nothing arrived while the answer that was released last waited, nor since.
    stalled: bool,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    /// As many there were then.
    arrivals: u64,
    answer: Answer,
}

impl Waiting {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            open: VecDeque::new(),
            sealed: BTreeMap::new(),
            arrivals: 0,
            stalled: false,
        }
    }

    /// Its record is in the open batch.
    pub(super) fn wait(&mut self, answer: Answer, now: Instant) {
        self.open.push_back(Waiter {
            since: now,
            arrivals: self.arrivals,
            answer,
        });
    }

    /// The open batch has a number now.
    pub(super) fn sealed(&mut self, seq: u64) {
        if !self.open.is_empty() {
            self.sealed.insert(seq, mem::take(&mut self.open));
        }
    }

    /// Some batch has arrived; `own`: its number, if it is one of this process, which may have waiters.
    pub(super) fn arrived(&mut self, own: Option<u64>) {
        self.arrivals += 1;
        self.stalled = false;
        let waiters = own.and_then(|seq| self.sealed.remove(&seq));
        for waiter in waiters.into_iter().flatten() {
            tell(waiter.answer);
        }
    }

    /// When the next one has reached its limit.
    pub(super) fn due(&self) -> Option<Instant> {
        let sealed = self.sealed.values().find_map(VecDeque::front);
        let next = sealed.or_else(|| self.open.front())?;
        let limit = if self.stalled {
            Duration::ZERO
        } else {
            self.limit
        };
        Some(next.since + limit)
    }

    /// The next one that has reached its limit, to be answered now.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Answer> {
        self.due().filter(|&due| due <= now)?;
        let next = self.next()?;
        self.stalled = next.arrivals == self.arrivals;
        Some(next.answer)
    }

    fn next(&mut self) -> Option<Waiter> {
        while let Some(mut first) = self.sealed.first_entry() {
            match first.get_mut().pop_front() {
                Some(next) => return Some(next),
                None => drop(first.remove()),
            }
        }
        self.open.pop_front()
    }
}

/// Answers that it is recorded.
pub(super) fn tell(answer: Answer) {
    // The receiver may be gone.
    let _ = answer.send(Ok(()));
}
