//! The order of a line: pure.
//!
//! A *round* walks the line from its head. Each request in turn tries; one that finds room leaves,
//! and the round goes on behind it. One that finds none ends the round, unless it was constrained:
//! then those behind it may still find room elsewhere. News that arrives during a round starts
//! another one behind it.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Ticket;

#[derive(Debug)]
pub(super) struct State<R> {
    line: BTreeMap<Ticket, Waiter<R>>,
    turn: Option<Ticket>,
    news: bool,
}

#[derive(Debug)]
struct Waiter<R> {
    constrained: bool,
    /// `None` while its turn is out.
    reply: Option<R>,
}

/// Give this one its turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer<R> {
    pub(super) ticket: Ticket,
    pub(super) reply: R,
}

impl<R> State<R> {
    pub(super) fn new() -> Self {
        Self {
            line: BTreeMap::new(),
            turn: None,
            news: false,
        }
    }

    /// Somebody joins. Only a new head has to try at once: behind another, the next news is enough,
    /// since whoever frees a slot sees that the line is not empty.
    pub(super) fn join(&mut self, ticket: Ticket, constrained: bool, reply: R) -> Option<Offer<R>> {
        self.line.insert(
            ticket,
            Waiter {
                constrained,
                reply: Some(reply),
            },
        );
        if self.turn.is_some_and(|turn| turn < ticket) {
            return None; // the round reaches it, or ends before it
        }
        let first_to_try = self
            .line
            .range(..ticket)
            .all(|(_, waiter)| waiter.constrained);
        if first_to_try { self.freed() } else { None }
    }

    /// The one whose turn it was found no room.
    pub(super) fn again(
        &mut self,
        ticket: Ticket,
        constrained: bool,
        reply: R,
    ) -> Option<Offer<R>> {
        self.line.insert(
            ticket,
            Waiter {
                constrained,
                reply: Some(reply),
            },
        );
        if self.turn == Some(ticket) {
            self.turn = None;
        }
        if self.turn.is_some() {
            return None;
        }
        if constrained && let Some(offer) = self.offer(Bound::Excluded(ticket)) {
            return Some(offer);
        }
        self.next_round()
    }

    /// Somebody was served, or is gone.
    pub(super) fn left(&mut self, ticket: Ticket) -> Option<Offer<R>> {
        self.line.remove(&ticket);
        if self.turn != Some(ticket) {
            return None;
        }
        self.turn = None;
        self.news = false;
        self.offer(Bound::Unbounded)
    }

    /// There may be room.
    pub(super) fn freed(&mut self) -> Option<Offer<R>> {
        self.news = true;
        if self.turn.is_some() {
            None
        } else {
            self.next_round()
        }
    }

    fn next_round(&mut self) -> Option<Offer<R>> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        self.offer(Bound::Unbounded)
    }

    fn offer(&mut self, from: Bound<Ticket>) -> Option<Offer<R>> {
        let (ticket, waiter) = self.line.range_mut((from, Bound::Unbounded)).next()?;
        let reply = waiter.reply.take()?;
        self.turn = Some(*ticket);
        Some(Offer {
            ticket: *ticket,
            reply,
        })
    }
}

#[cfg(test)]
mod tests;
