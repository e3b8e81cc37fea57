//! Many additions to the same rows as one, in the order of the key. Pure.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::batch::SpendSums;
use super::dialect::Value;
use super::error::Error;
use super::limits;
use crate::domain::TokenCounts;

/// The rows of a table: its key, and what is added to its values.
pub(super) type Additions<'a, const K: usize, const V: usize> = Vec<([Value<'a>; K], [i64; V])>;

/// `rows`, sorted, each key once. Added up first: the batches of a busy second name the same keys
/// again and again, and what is sorted then is only what is written.
pub(super) fn summed<'a, const K: usize, const V: usize>(
    rows: impl Iterator<Item = ([Value<'a>; K], [u64; V])>,
) -> Result<Additions<'a, K, V>, Error> {
    let mut places = HashMap::with_hasher(RandomState::default());
    let mut sums: Additions<'a, K, V> = Vec::new();
    for (key, values) in rows {
        let place = *places.entry(key).or_insert(sums.len());
        if place == sums.len() {
            sums.push((key, [0; V]));
        }
        for (sum, value) in sums[place].1.iter_mut().zip(values) {
            let number = limits::number(value).map_err(Error::Poison)?;
            *sum = limits::sum(*sum, number)?;
        }
    }
    sums.sort_unstable_by_key(|(key, _)| *key);
    Ok(sums)
}

impl From<TokenCounts> for [u64; 3] {
    fn from(tokens: TokenCounts) -> Self {
        [tokens.input, tokens.output, tokens.total()]
    }
}

impl From<SpendSums> for [u64; 4] {
    fn from(spent: SpendSums) -> Self {
        [spent.nano_usd, spent.input, spent.output, spent.requests]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_become_one_row_and_rows_are_in_order() {
        let rows = [("b", 1), ("a", 2), ("b", 10)].map(|(key, n)| ([Value::Text(key)], [n]));
        let expected = vec![([Value::Text("a")], [2]), ([Value::Text("b")], [11])];
        assert_eq!(summed(rows.into_iter()).unwrap(), expected);
    }

    #[test]
    fn what_is_too_much_together_is_poison() {
        let half = (1_u64 << 61) + 1;
        let rows = [([Value::Text("a")], [half]), ([Value::Text("a")], [half])];
        let refused = summed(rows.into_iter()).unwrap_err();
        assert!(matches!(refused, Error::Poison(_)), "{refused}");
    }
}
