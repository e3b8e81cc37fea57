//! Questions whose answer should be that all is well.
//!
//! Sums are compared inside the database and only counted here, because each database has another
//! type for a sum. One statement sees one state, whatever is written meanwhile.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Store;
use super::dialect::Dialect as _;
use super::error::Error;
use super::pool::{read, transaction};
use super::schema::spend_batches;

/// How far one producer has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its id.
    pub producer: String,
    /// The batches up to this one have all been applied.
    pub through: u64,
    /// The last one that has been.
    pub newest: u64,
    /// First and last of those in between that have not.
    pub missing: Vec<(u64, u64)>,
    /// When something of it was last written, in Unix seconds.
    pub last_seen: i64,
}

const ACCOUNTS: &str = "SELECT count(*) AS number FROM spend LEFT JOIN ( \
        SELECT kind, entity, sum(spend_nano_usd) AS money, sum(input_tokens) AS input, \
            sum(output_tokens) AS output, sum(requests) AS requests \
        FROM daily_spend GROUP BY kind, entity \
    ) days ON days.kind = spend.kind AND days.entity = spend.entity \
    WHERE days.money IS NULL OR days.money <> spend.spend_nano_usd \
        OR days.input <> spend.input_tokens OR days.output <> spend.output_tokens \
        OR days.requests <> spend.requests";

const PAIRS: &str = "SELECT count(*) AS number FROM token_counts LEFT JOIN ( \
        SELECT endpoint, model, sum(input_tokens) AS input, sum(output_tokens) AS output \
        FROM token_time_series GROUP BY endpoint, model \
    ) minutes ON minutes.endpoint = token_counts.endpoint AND minutes.model = token_counts.model \
    WHERE minutes.input IS NULL OR minutes.input <> token_counts.input_tokens \
        OR minutes.output <> token_counts.output_tokens";

impl Store {
    /// How many accounts are not the sum of their days, and how many pairs of endpoint and model not
    /// the sum of their minutes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn disagreements(&self) -> Result<(u64, u64), Error> {
        let accounts = transaction!(self, "ROLLBACK", |conn| conn.numbers(ACCOUNTS, &[]))?;
        let pairs = transaction!(self, "ROLLBACK", |conn| conn.numbers(PAIRS, &[]))?;
        let count = |found: Vec<i64>| found.into_iter().next().map_or(0, i64::unsigned_abs);
        Ok((count(accounts), count(pairs)))
    }

    /// How far each producer has come, and what is missing on the way.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn progress(&self) -> Result<Vec<Progress>, Error> {
        let mut all = Vec::new();
        for (producer, high_water, last_seen) in self.producers().await? {
            let listed: Result<Vec<i64>, Error> = read!(self, |conn| spend_batches::table
                .select(spend_batches::seq)
                .filter(spend_batches::producer.eq(&producer))
                .filter(spend_batches::seq.gt(high_water))
                .order(spend_batches::seq)
                .load(conn));
            all.push(followed(producer, high_water, last_seen, &listed?));
        }
        Ok(all)
    }
}

/// From the number up to which all is there, through those that are listed beyond it.
fn followed(producer: String, high_water: i64, last_seen: i64, listed: &[i64]) -> Progress {
    let (mut through, mut newest, mut missing) = (high_water, high_water, Vec::new());
    for &seq in listed {
        if seq > newest + 1 {
            missing.push(((newest + 1).unsigned_abs(), (seq - 1).unsigned_abs()));
        }
        newest = seq;
        if missing.is_empty() {
            through = seq;
        }
    }
    Progress {
        producer,
        through: through.unsigned_abs(),
        newest: newest.unsigned_abs(),
        missing,
        last_seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_lies_between_what_is_there() {
        let told = |high_water, listed: &[i64]| {
            let one = followed(String::new(), high_water, 0, listed);
            (one.through, one.newest, one.missing)
        };
        assert_eq!(told(5, &[]), (5, 5, vec![]));
        assert_eq!(told(5, &[6, 7]), (7, 7, vec![]));
        assert_eq!(told(0, &[2]), (0, 2, vec![(1, 1)]));
        assert_eq!(told(3, &[4, 8, 9, 11]), (4, 11, vec![(5, 7), (10, 10)]));
    }
}
