//! What a read of the database changes in the view: pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::access::meter::{Base, Cell, What};
use crate::access::rule::Window;
use crate::access::view::{Change, View};
use crate::domain::{ModelName, Price};
use crate::store::{BudgetKey, PriceChange};

/// What the database has changed since it was last asked.
#[derive(Debug)]
pub struct Read {
    /// Up to this number.
    pub version: i64,
    pub changes: Vec<Change>,
    pub prices: Vec<PriceChange>,
    /// When the question was asked, by the local clock.
    pub asked_ms: i64,
}

/// What was spent in the periods asked about.
#[derive(Debug)]
pub struct Bases {
    pub of: Vec<(Arc<Cell>, BudgetKey)>,
    /// Nothing is zero.
    pub spent: HashMap<BudgetKey, i64>,
    /// When the question was asked, by the ledger's clock.
    pub asked_ms: i64,
}

/// What is still to be asked about in this round, a slice at a time: of all budgets at once, a request
/// that changed something would have to wait for the answer.
#[derive(Debug, Default)]
pub struct Round {
    left: Vec<Arc<Cell>>,
    slice: usize,
}

#[derive(Debug, Default)]
pub struct State {
    pub version: i64,
    configured: HashMap<ModelName, Price>,
    set: HashMap<ModelName, Price>,
    /// Rows that are no price this version understands.
    unreadable: BTreeSet<String>,
    /// Exceeded soft limits that were reported, by the period they were exceeded in.
    reported: HashMap<Arc<str>, i64>,
}

impl Round {
    /// A round over these limits, in so many slices.
    pub fn new(limits: impl Iterator<Item = Arc<Cell>>, slices: usize) -> Self {
        let is_money = |cell: &Arc<Cell>| matches!(cell.what(), What::Money { .. });
        let left: Vec<_> = limits.filter(is_money).collect();
        Self {
            slice: left.len().div_ceil(slices.max(1)),
            left,
        }
    }

    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// The next slice.
    pub fn next(&mut self) -> Vec<Arc<Cell>> {
        let rest = self.left.len().saturating_sub(self.slice);
        self.left.split_off(rest)
    }
}

impl State {
    pub fn new(prices: Vec<(ModelName, Price)>) -> Self {
        Self {
            configured: prices.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The view after a read, and the limits of the accounts that changed.
    pub fn read(&mut self, view: &View, read: Read) -> (View, Vec<Arc<Cell>>) {
        self.version = self.version.max(read.version);
        let (mut view, cells) = view.with(read.changes);
        for PriceChange { row, says } in read.prices {
            match says {
                // The price before it stays in force. After a restart it is the configuration's, or none:
                // an operator's mistake must not switch a model off, but is logged.
                None => {
                    tracing::error!(model = row, "price is not understood and does not count");
                    self.unreadable.insert(row);
                }
                Some((model, price)) => {
                    self.unreadable.remove(&row);
                    match price {
                        Some(price) => self.set.insert(model, price),
                        None => self.set.remove(&model),
                    };
                }
            }
        }
        view.prices = Arc::new(self.prices());
        (view, cells)
    }

    /// How many rows are no price.
    pub fn unreadable_prices(&self) -> usize {
        self.unreadable.len()
    }

    /// The configuration's prices have changed.
    pub fn configure(&mut self, prices: Vec<(ModelName, Price)>) -> HashMap<ModelName, Price> {
        self.configured = prices.into_iter().collect();
        self.prices()
    }

    /// What is set while running counts before what is configured.
    fn prices(&self) -> HashMap<ModelName, Price> {
        let mut prices = self.configured.clone();
        prices.extend(
            self.set
                .iter()
                .map(|(model, price)| (model.clone(), *price)),
        );
        prices
    }

    /// What to ask about those of these limits that are budgets, at this Unix second.
    pub fn question(
        cells: impl Iterator<Item = Arc<Cell>>,
        unix: i64,
    ) -> Vec<(Arc<Cell>, BudgetKey)> {
        let key = |cell: &Arc<Cell>| {
            let Window::Since(start) = cell.window(unix) else {
                return None;
            };
            let owner = cell.owner();
            Some((owner.kind.entity()?, Arc::clone(&owner.id), start))
        };
        let ask = |cell: Arc<Cell>| key(&cell).map(|key| (cell, key));
        cells.filter_map(ask).collect()
    }

    /// Sets the bases. Returns the budgets that were found above their soft limit and are to be
    /// reported.
    pub fn swept(&mut self, view: &View, bases: Bases) -> Vec<(Arc<Cell>, i64)> {
        let mut exceeded = Vec::new();
        for (cell, key) in bases.of {
            let amount = bases.spent.get(&key).copied().unwrap_or_default();
            let (kind, id, window) = (cell.owner().kind, &key.1, key.2);
            cell.set_base(Base {
                window,
                amount,
                at_ms: bases.asked_ms,
            });
            let entry = view.get(kind, id);
            // Its limits may have become others since it was asked.
            let entry = entry.filter(|entry| entry.cells.iter().any(|own| Arc::ptr_eq(own, &cell)));
            let soft = entry.and_then(|entry| entry.soft());
            if soft.is_some_and(|soft| amount >= soft)
                && self.reported.insert(Arc::clone(cell.key()), window) != Some(window)
            {
                exceeded.push((cell, amount));
            }
        }
        exceeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Account, AccountKind, Period};

    #[test]
    fn a_round_asks_about_every_budget_once_and_never_about_all_at_once() {
        let key = |n: usize| {
            let mut key = Account::new(AccountKind::Key, format!("k{n}"), 100);
            key.allowance.budget.limit = Some(10);
            key.allowance.limits.rpm = Some(10);
            Change::Put(Box::new(key))
        };
        let (_, cells) = View::empty().with((0..1_000).map(key).collect());
        let mut round = Round::new(cells.iter().cloned(), 15);
        let mut asked = Vec::new();
        while !round.is_over() {
            let slice = round.next();
            assert!((1..=67).contains(&slice.len()), "{}", slice.len());
            asked.extend(slice.iter().map(|cell| Arc::clone(&cell.owner().id)));
        }
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked.len(), 1_000);
        assert!(Round::new(std::iter::empty(), 0).next().is_empty());
    }

    #[test]
    fn a_soft_limit_is_reported_once_a_period() {
        let mut key = Account::new(AccountKind::Key, "k", 100);
        key.allowance.budget.soft = Some(10);
        key.allowance.budget.period = Period::Every(60);
        let changes = vec![Change::Put(Box::new(key))];
        let (view, cells) = View::empty().with(changes);
        let mut state = State::default();
        let mut swept = |unix: i64, amount: i64| {
            let of = State::question(cells.iter().cloned(), unix);
            let spent = of.iter().map(|(_, key)| (key.clone(), amount)).collect();
            let asked_ms = unix * 1_000;
            let exceeded = state.swept(
                &view,
                Bases {
                    of,
                    spent,
                    asked_ms,
                },
            );
            exceeded
                .iter()
                .map(|(_, amount)| *amount)
                .collect::<Vec<_>>()
        };
        assert!(swept(110, 9).is_empty());
        assert_eq!(swept(120, 10), [10]);
        assert!(swept(130, 11).is_empty(), "it has been reported");
        assert!(swept(165, 3).is_empty(), "another period");
        assert_eq!(swept(170, 12), [12]);
    }
}
