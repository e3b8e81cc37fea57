//! The order of a queue: pure.
//!
//! A *round* goes through the queue from its head. Each request tries in its turn; one that finds a
//! slot leaves, and the round goes on behind it. One that finds none ends the round, unless it was
//! constrained: then those behind it may still find a slot elsewhere. A slot that is freed during a
//! round starts another round after it.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Arrival;

#[derive(Debug)]
pub(super) struct State<R> {
    queue: BTreeMap<Arrival, Waiter<R>>,
    permit: Option<Arrival>,
    freed_again: bool,
}

#[derive(Debug)]
struct Waiter<R> {
    constrained: bool,
    /// `None` while it has the permit.
    reply: Option<R>,
}

/// Give this request the permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer<R> {
    pub(super) arrival: Arrival,
    pub(super) reply: R,
}

impl<R> State<R> {
    pub(super) fn new() -> Self {
        Self {
            queue: BTreeMap::new(),
            permit: None,
            freed_again: false,
        }
    }

    /// A request joins. Only a new head has to try at once: behind another, the next freed slot is
    /// enough, since a lease that ends sees that the queue is not empty.
    pub(super) fn join(
        &mut self,
        arrival: Arrival,
        constrained: bool,
        reply: R,
    ) -> Option<Offer<R>> {
        self.queue.insert(
            arrival,
            Waiter {
                constrained,
                reply: Some(reply),
            },
        );
        if self.permit.is_some_and(|permit| permit < arrival) {
            return None; // the round reaches it, or ends before it
        }
        let first_to_try = self
            .queue
            .range(..arrival)
            .all(|(_, waiter)| waiter.constrained);
        if first_to_try { self.freed() } else { None }
    }

    /// The request that had the permit found no free slot.
    pub(super) fn again(
        &mut self,
        arrival: Arrival,
        constrained: bool,
        reply: R,
    ) -> Option<Offer<R>> {
        self.queue.insert(
            arrival,
            Waiter {
                constrained,
                reply: Some(reply),
            },
        );
        if self.permit == Some(arrival) {
            self.permit = None;
        }
        if self.permit.is_some() {
            return None;
        }
        if constrained && let Some(offer) = self.offer(Bound::Excluded(arrival)) {
            return Some(offer);
        }
        self.next_round()
    }

    /// A request was served, or is gone.
    pub(super) fn left(&mut self, arrival: Arrival) -> Option<Offer<R>> {
        self.queue.remove(&arrival);
        if self.permit != Some(arrival) {
            return None;
        }
        self.permit = None;
        self.freed_again = false;
        self.offer(Bound::Unbounded)
    }

    /// There may be a free slot.
    pub(super) fn freed(&mut self) -> Option<Offer<R>> {
        self.freed_again = true;
        if self.permit.is_some() {
            None
        } else {
            self.next_round()
        }
    }

    fn next_round(&mut self) -> Option<Offer<R>> {
        if !std::mem::take(&mut self.freed_again) {
            return None;
        }
        self.offer(Bound::Unbounded)
    }

    fn offer(&mut self, from: Bound<Arrival>) -> Option<Offer<R>> {
        let (arrival, waiter) = self.queue.range_mut((from, Bound::Unbounded)).next()?;
        let reply = waiter.reply.take()?;
        self.permit = Some(*arrival);
        Some(Offer {
            arrival: *arrival,
            reply,
        })
    }
}

#[cfg(test)]
mod tests;
