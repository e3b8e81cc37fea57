//! What one request costs, and to which accounts it is charged.
//!
//! Everything is decided when the request ends: the price of that moment, and the budget period of
//! that moment. Whatever path the record takes, and however late it arrives, it is added
//! to the period in which it was used.

use std::sync::Arc;

use super::EntityKind;

/// One account that pays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Payer {
    /// What the account stands for.
    pub kind: EntityKind,
    /// Its id among those of its kind.
    pub entity: Arc<str>,
    /// When the budget period began in which the money was spent, in Unix seconds; 0 for an account
    /// whose budget has no periods, or that has no budget.
    pub period: i64,
}

/// The cost of one request, which each of its payers is charged in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// In nano-USD, never negative. An integer, so that no sum depends on the order of its parts.
    pub nano_usd: i64,
    /// SHA-256 of the key it came with, in hexadecimal; empty without a key.
    pub api_key: Arc<str>,
    /// Each account once.
    pub payers: Arc<[Payer]>,
}
