//! What the actor remembers of one meter that this router has a share of.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::access::meter::{Cell, Share, What};
use crate::access::rule::Window;

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) cell: Arc<Cell>,
    /// How much is to be kept ready.
    pub(super) target: i64,
    /// The next report, by the local clock. Only the [`Schedule`](super::schedule::Schedule) writes it.
    pub(super) due_ms: i64,
    /// Used without a share, to be counted with the next one.
    pub(super) debt: i64,
    /// Money spent that the base may not have yet, by the second in which it was noticed.
    pub(super) uncovered: VecDeque<(i64, i64)>,
    /// How much of the share's spending is in `uncovered`, or has been.
    pub(super) seen: i64,
    /// The newest base that has been accounted for.
    pub(super) base_ms: i64,
    /// The window and what was left in it when the ledger last answered.
    pub(super) left: Option<(i64, i64)>,
    /// What this router may use of that window while the ledger is away.
    pub(super) frozen: Option<(i64, i64)>,
}

impl Tracked {
    pub(super) fn new(cell: Arc<Cell>, due_ms: i64) -> Self {
        Self {
            cell,
            target: 0,
            due_ms,
            debt: 0,
            uncovered: VecDeque::new(),
            seen: 0,
            base_ms: -1,
            left: None,
            frozen: None,
        }
    }

    pub(super) fn is_money(&self) -> bool {
        matches!(self.cell.what(), What::Money { .. })
    }

    /// Notes what has been spent since the last note.
    pub(super) fn note(&mut self, share: &Share, unix: i64) {
        let fresh = share.spent() - self.seen;
        if fresh != 0 && self.is_money() {
            self.seen += fresh;
            match self.uncovered.back_mut() {
                Some((second, amount)) if *second == unix => *amount += fresh,
                _ => self.uncovered.push_back((unix, fresh)),
            }
        }
    }

    /// The base has everything from before `until`.
    pub(super) fn cover(&mut self, share: &Share, until: i64) -> i64 {
        let mut covered = 0;
        while let Some((second, amount)) = self.uncovered.front()
            && *second < until
        {
            covered += amount;
            self.uncovered.pop_front();
        }
        self.seen -= covered;
        share.cover(covered);
        covered
    }

    /// A share of another window: nothing of the old one is of interest any more.
    pub(super) fn renew(&mut self, share: Share) -> Arc<Share> {
        self.uncovered.clear();
        self.seen = 0;
        let share = Arc::new(share);
        self.cell.set_share(Some(Arc::clone(&share)));
        share
    }

    /// What this router may use of `window` by itself: what it has, and an even part of what was
    /// left. Decided once for each window, or a router would get a part of the rest again and again.
    pub(super) fn part_alone(
        &mut self,
        window: Window,
        routers: i64,
        ledger_ms: i64,
    ) -> Option<i64> {
        let start = match window {
            Window::Always => 0,
            Window::Each(length) => ledger_ms - ledger_ms.rem_euclid(length.max(1)),
            Window::Since(start) => start,
        };
        if let Some((known, part)) = self.frozen
            && known == start
        {
            return Some(part);
        }
        let share = self.cell.share();
        let has = share
            .filter(|share| share.window() == start)
            .map_or(0, |share| share.total());
        let part = match self.left {
            Some((known, left)) if known == start => has + left.max(0) / routers,
            _ => {
                let (amount, at_ms) = self.cell.base(window);
                if at_ms < 0 {
                    return None;
                }
                // Rounded up, so that a limit smaller than the fleet does not refuse everyone.
                let left = (self.cell.limit() - amount).max(0);
                has.max((left + routers - 1) / routers)
            }
        };
        self.frozen = Some((start, part));
        Some(part)
    }
}
