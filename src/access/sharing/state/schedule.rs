//! The meters this router has something of, in the order in which they are to be reported.
//!
//! However many there are, the next ones are found at once, and none is passed over for ever: who has
//! waited longest comes first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::tracked::Tracked;
use crate::access::meter::Cell;

/// Due before anything else: the ledger has forgotten it, or may not have received it.
const AT_ONCE: i64 = i64::MIN;

#[derive(Debug, Default)]
pub(super) struct Schedule {
    meters: HashMap<Arc<str>, Tracked>,
    /// By the local clock. Each meter once, at its [`Tracked::due_ms`].
    due: BTreeSet<(i64, Arc<str>)>,
}

impl Schedule {
    /// This meter, new and due at `now_ms` if it is not there.
    pub(super) fn open(&mut self, cell: &Arc<Cell>, now_ms: i64) -> &mut Tracked {
        self.meters
            .entry(Arc::clone(cell.key()))
            .or_insert_with(|| {
                self.due.insert((now_ms, Arc::clone(cell.key())));
                Tracked::new(Arc::clone(cell), now_ms)
            })
    }

    pub(super) fn get(&self, key: &str) -> Option<&Tracked> {
        self.meters.get(key)
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.meters.values_mut()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.meters.is_empty() && self.due.is_empty()
    }

    /// To be reported then, and neither sooner nor later.
    pub(super) fn put(&mut self, key: &str, due_ms: i64) {
        let Some(tracked) = self.meters.get_mut(key) else {
            return;
        };
        let key = Arc::clone(tracked.cell.key());
        let former = std::mem::replace(&mut tracked.due_ms, due_ms);
        self.due.remove(&(former, Arc::clone(&key)));
        self.due.insert((due_ms, key));
    }

    /// To be reported then at the latest.
    pub(super) fn bring_forward(&mut self, key: &str, due_ms: i64) {
        let later = |tracked: &Tracked| tracked.due_ms > due_ms;
        if self.meters.get(key).is_some_and(later) {
            self.put(key, due_ms);
        }
    }

    /// To be reported before anything else.
    pub(super) fn again(&mut self, key: &str) {
        self.put(key, AT_ONCE);
    }

    /// Everything is to be reported.
    pub(super) fn all_again(&mut self) {
        for tracked in self.meters.values_mut() {
            tracked.due_ms = AT_ONCE;
        }
        self.due = self
            .meters
            .keys()
            .map(|key| (AT_ONCE, Arc::clone(key)))
            .collect();
    }

    /// Whether something is left of what is to be reported before anything else.
    pub(super) fn is_behind(&self) -> bool {
        matches!(self.due.first(), Some((AT_ONCE, _)))
    }

    /// Those that are to be reported at this moment, the most urgent first.
    pub(super) fn due(&self, now_ms: i64, most: usize) -> impl Iterator<Item = &Arc<Cell>> {
        let due = self.due.iter().take_while(move |(at, _)| *at <= now_ms);
        due.take(most)
            .filter_map(|(_, key)| self.meters.get(key))
            .map(|tracked| &tracked.cell)
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some((key, tracked)) = self.meters.remove_entry(key) {
            self.due.remove(&(tracked.due_ms, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::meter::{Owner, What};
    use crate::domain::AccountKind;

    fn cell(n: usize) -> Arc<Cell> {
        let owner = Owner {
            kind: AccountKind::Key,
            id: format!("{n:06}").into(),
            model: None,
        };
        Arc::new(Cell::new(owner, What::Parallel, 1))
    }

    #[test]
    fn none_of_a_hundred_thousand_meters_is_passed_over() {
        let mut schedule = Schedule::default();
        let cells: Vec<_> = (0..100_000).map(cell).collect();
        for cell in &cells {
            schedule.open(cell, 0);
        }
        let mut seen = std::collections::HashSet::new();
        // Everyone is due all the time, and each is reported before any is a second time.
        for call in 0..1_000 {
            let due: Vec<_> = schedule.due(call, 100).cloned().collect();
            for cell in due {
                schedule.put(cell.key(), call + 1);
                seen.insert(Arc::clone(cell.key()));
            }
        }
        assert_eq!(seen.len(), cells.len());
    }

    #[test]
    fn what_was_forgotten_comes_before_what_is_due() {
        let mut schedule = Schedule::default();
        let cells: Vec<_> = (0..3).map(cell).collect();
        for cell in &cells {
            schedule.open(cell, 5);
        }
        assert!(schedule.due(4, 9).next().is_none() && !schedule.is_behind());
        schedule.again(cells[2].key());
        assert!(schedule.is_behind());
        assert_eq!(schedule.due(5, 1).next().unwrap().key(), cells[2].key());
        schedule.put(cells[2].key(), 9);
        schedule.bring_forward(cells[2].key(), 11);
        assert_eq!(schedule.due(8, 9).count(), 2);
        schedule.all_again();
        assert_eq!(schedule.due(0, 9).count(), 3);
        for cell in &cells {
            schedule.remove(cell.key());
        }
        assert!(schedule.is_empty());
    }
}
