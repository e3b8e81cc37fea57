//! What there is that is old: asked by the index on the time, so that it costs nothing where there is nothing.

use diesel::deserialize::QueryableByName;
use diesel::sql_types::Text;

use super::BEFORE_ALL;
use crate::store::Store;
use crate::store::dialect::{Dialect, Value};
use crate::store::error::Error;
use crate::store::pool::reading;

/// The oldest minute. A row at the first minute of a day is that day.
const MINUTE: &str = "SELECT t.timestamp FROM token_time_series t \
    WHERE t.timestamp > ? AND t.timestamp < ? AND t.timestamp % 86400 <> 0 \
    ORDER BY t.timestamp LIMIT 1";

/// The oldest row.
const ROW: &str = "SELECT t.timestamp FROM token_time_series t \
    WHERE t.timestamp > ? AND t.timestamp < ? ORDER BY t.timestamp LIMIT 1";

/// Pairs that are answered at once; the rest is found when these are done.
const PAIRS: &str = "SELECT DISTINCT t.endpoint, t.model FROM token_time_series t \
    WHERE t.timestamp > ? AND t.timestamp < ? LIMIT 500";

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    endpoint: String,
    #[diesel(sql_type = Text)]
    model: String,
}

impl Store {
    /// When the oldest minute is that is no day yet, after `after` and before `before` (Unix seconds). The days
    /// in between are passed over one by one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn oldest_minute(&self, after: i64, before: i64) -> Result<Option<i64>, Error> {
        self.oldest(MINUTE, after, before).await
    }

    /// When the oldest row is, a day or a minute, before `before` (Unix seconds).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn oldest_tokens(&self, before: i64) -> Result<Option<i64>, Error> {
        self.oldest(ROW, BEFORE_ALL, before).await
    }

    /// Some of the endpoints and models that have rows after `after` and before `before` (Unix seconds).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn used_between(
        &self,
        after: i64,
        before: i64,
    ) -> Result<Vec<(String, String)>, Error> {
        let values = [Value::Number(after), Value::Number(before)];
        let pairs: Vec<Pair> = reading!(self, |conn| conn.rows(PAIRS, &values))?;
        let pair = |pair: Pair| (pair.endpoint, pair.model);
        Ok(pairs.into_iter().map(pair).collect())
    }

    async fn oldest(&self, ask: &str, after: i64, before: i64) -> Result<Option<i64>, Error> {
        let values = [Value::Number(after), Value::Number(before)];
        let found = reading!(self, |conn| conn.numbers(ask, &values))?;
        Ok(found.first().copied())
    }
}
