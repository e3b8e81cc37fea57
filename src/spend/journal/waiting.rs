//! Who waits until somebody beyond this machine has their batch, and for how long. Pure: time is an
//! argument.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::spend::NotRecorded;

/// Where the answer to a record goes.
pub(super) type Answer = oneshot::Sender<Result<(), NotRecorded>>;

/// Answers held back. Those that are dropped with it say that nobody records any more.
///
/// Nobody is held back for ever. Who has waited for as long as is bearable is let go; and when
/// nothing at all has arrived meanwhile, whoever waits or comes after goes at once: for what nobody
/// takes nobody should wait. As soon as a batch arrives somewhere, answers wait again.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How long is bearable.
    most: Duration,
    /// For the batch that is open, the first to come first.
    open: VecDeque<Waiter>,
    /// By the batch's number, and so in the order they came.
    sealed: BTreeMap<u64, VecDeque<Waiter>>,
    /// How often something arrived.
    arrivals: u64,
    /// The last that was let go had seen nothing arrive, and nothing has since.
    in_vain: bool,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    /// As many there were then.
    arrivals: u64,
    answer: Answer,
}

impl Waiting {
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most,
            open: VecDeque::new(),
            sealed: BTreeMap::new(),
            arrivals: 0,
            in_vain: false,
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

    /// Some batch is where it was to be; `own`, if it is one of this process, that has waiters.
    pub(super) fn arrived(&mut self, own: Option<u64>) {
        self.arrivals += 1;
        self.in_vain = false;
        let waiters = own.and_then(|seq| self.sealed.remove(&seq));
        for waiter in waiters.into_iter().flatten() {
            tell(waiter.answer);
        }
    }

    /// When the next one has waited for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        let sealed = self.sealed.values().find_map(VecDeque::front);
        let next = sealed.or_else(|| self.open.front())?;
        let bearable = if self.in_vain {
            Duration::ZERO
        } else {
            self.most
        };
        Some(next.since + bearable)
    }

    /// One more who has waited for long enough, and is to be told now.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Answer> {
        self.due().filter(|&due| due <= now)?;
        let next = self.next()?;
        self.in_vain = next.arrivals == self.arrivals;
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

/// Says that it is recorded.
pub(super) fn tell(answer: Answer) {
    // Whoever left does not want to know any more.
    let _ = answer.send(Ok(()));
}
