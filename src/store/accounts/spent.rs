//! What of each budget is spent, as far as the database knows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::domain::EntityKind;
use crate::store::Store;
use crate::store::error::Error;
use crate::store::pool::read;
use crate::store::schema::{spend, spend_periods};

/// An account and when the period of its budget began; 0 for a budget without periods.
pub type BudgetKey = (EntityKind, Arc<str>, i64);

/// Accounts asked about at once.
const CHUNK: usize = 500;

impl Store {
    /// What was spent of these budgets; those that are missing have spent nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn spent_of(&self, keys: &[BudgetKey]) -> Result<Vec<(BudgetKey, i64)>, Error> {
        let mut ever: BTreeMap<EntityKind, Vec<&BudgetKey>> = BTreeMap::new();
        let mut since: BTreeMap<EntityKind, Vec<&BudgetKey>> = BTreeMap::new();
        for key in keys {
            let by_kind = if key.2 == 0 { &mut ever } else { &mut since };
            by_kind.entry(key.0).or_default().push(key);
        }
        let mut spent = Vec::new();
        for (kind, keys) in ever {
            for keys in keys.chunks(CHUNK) {
                let ids: Vec<&str> = keys.iter().map(|key| &*key.1).collect();
                let rows: Result<Vec<(String, i64)>, Error> = read!(self, |conn| spend::table
                    .select((spend::entity, spend::spend_nano_usd))
                    .filter(spend::kind.eq(kind.as_str()))
                    .filter(spend::entity.eq_any(&ids))
                    .load(conn));
                let rows = rows?.into_iter();
                spent.extend(rows.map(|(id, amount)| ((kind, id.into(), 0), amount)));
            }
        }
        for (kind, keys) in since {
            for keys in keys.chunks(CHUNK) {
                let ids: Vec<&str> = keys.iter().map(|key| &*key.1).collect();
                let first = keys.iter().map(|key| key.2).min().unwrap_or_default();
                let asked: HashSet<(&str, i64)> = keys.iter().map(|key| (&*key.1, key.2)).collect();
                let rows: Result<Vec<(String, i64, i64)>, Error> =
                    read!(self, |conn| spend_periods::table
                        .select((
                            spend_periods::entity,
                            spend_periods::period_start,
                            spend_periods::spend_nano_usd,
                        ))
                        .filter(spend_periods::kind.eq(kind.as_str()))
                        .filter(spend_periods::entity.eq_any(&ids))
                        .filter(spend_periods::period_start.ge(first))
                        .load(conn));
                let rows = rows?.into_iter();
                let rows = rows.filter(|(id, start, _)| asked.contains(&(id.as_str(), *start)));
                spent.extend(rows.map(|(id, start, sum)| ((kind, id.into(), start), sum)));
            }
        }
        Ok(spent)
    }
}
