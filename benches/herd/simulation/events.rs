//! Virtual time: what happens next. What happens at the same moment happens in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds since the simulation began.
pub type Moment = u64;

/// One second of virtual time.
pub const SECOND: Moment = 1_000_000;

#[derive(Debug)]
struct Planned<E> {
    at: Moment,
    order: u64,
    event: E,
}

/// What is going to happen.
#[derive(Debug)]
pub struct Events<E> {
    now: Moment,
    order: u64,
    planned: BinaryHeap<Reverse<Planned<E>>>,
}

impl<E> Events<E> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            now: 0,
            order: 0,
            planned: BinaryHeap::new(),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// It will happen then, and not before now.
    pub fn at(&mut self, at: Moment, event: E) {
        self.order += 1;
        self.planned.push(Reverse(Planned {
            at: at.max(self.now),
            order: self.order,
            event,
        }));
    }

    /// It will happen after so long.
    pub fn after(&mut self, pause: Moment, event: E) {
        self.at(self.now + pause, event);
    }

    /// The next thing that happens before `end`; it is that time then.
    pub fn next(&mut self, end: Moment) -> Option<E> {
        if self.planned.peek()?.0.at >= end {
            return None;
        }
        let Reverse(next) = self.planned.pop()?;
        self.now = next.at;
        Some(next.event)
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
