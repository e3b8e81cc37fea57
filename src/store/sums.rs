//! Many additions to the same rows as one, in the order of the key. Pure.

use super::batch::SpendSums;
use super::dialect::Value;
use super::error::Error;
use super::limits;
use crate::domain::TokenCounts;

/// The rows of a table: its key, and what is added to its values.
pub(super) type Additions<'a, const K: usize, const V: usize> = Vec<([Value<'a>; K], [i64; V])>;

/// `rows`, sorted, each key once. Sorting beats a map: what comes is mostly sorted already.
pub(super) fn summed<'a, const K: usize, const V: usize>(
    rows: impl Iterator<Item = ([Value<'a>; K], [u64; V])>,
) -> Result<Additions<'a, K, V>, Error> {
    let mut all: Vec<_> = rows.collect();
    all.sort_by_key(|(key, _)| *key);
    let mut sums: Additions<'a, K, V> = Vec::with_capacity(all.len());
    for (key, values) in all {
        let mut numbers = [0; V];
        for (number, value) in numbers.iter_mut().zip(values) {
            *number = limits::number(value).map_err(Error::Poison)?;
        }
        match sums.last_mut() {
            Some((last, sum)) if *last == key => {
                for (sum, number) in sum.iter_mut().zip(numbers) {
                    *sum = limits::sum(*sum, number)?;
                }
            }
            _ => sums.push((key, numbers)),
        }
    }
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
