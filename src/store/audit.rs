//! Questions whose answer should be that all is well.
//!
//! Each is one statement, and so sees one state, whatever is written meanwhile. Sums are made and
//! compared inside the database; only what is wrong leaves it, as text, because each database has
//! another type for a sum.

use diesel::deserialize::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::Store;
use super::dialect::{Dialect, Value};
use super::error::Error;
use super::pool::reading;

/// Nobody looks at more of them one by one.
pub const MAX_DISAGREEMENTS: usize = 1_000;

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
    /// Requests in all that have been applied; `None` when a version that does not count them applied
    /// some.
    pub records: Option<u64>,
}

/// A total, and the sum of the rows it should be the total of. Numbers are money, tokens read, tokens
/// written and requests, or tokens read, written, both together, and nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Kind and entity, or endpoint and model.
    pub of: [String; 2],
    /// What the total says.
    pub total: [i128; 4],
    /// What its rows say together.
    pub rows: [i128; 4],
}

/// Two tables of which one has the other's sums.
struct Pair {
    total: &'static str,
    rows: &'static str,
    key: [&'static str; 2],
    values: &'static [&'static str],
}

const ACCOUNTS: Pair = Pair {
    total: "spend",
    rows: "daily_spend",
    key: ["kind", "entity"],
    values: &[
        "spend_nano_usd",
        "input_tokens",
        "output_tokens",
        "requests",
    ],
};

const TOKENS: Pair = Pair {
    total: "token_counts",
    rows: "token_time_series",
    key: ["endpoint", "model"],
    values: &["input_tokens", "output_tokens", "total_tokens"],
};

/// `text` is the type a sum is cast to.
fn asking_for_producers(text: &str) -> String {
    format!(
        "SELECT spend_producers.producer AS producer, \
            spend_producers.high_water AS high_water, spend_producers.last_seen AS last_seen, \
            count(spend_batches.seq) AS listed, max(spend_batches.seq) AS newest, \
            CAST(CASE WHEN spend_producers.records_through = spend_producers.high_water \
                AND count(spend_batches.records) = count(spend_batches.seq) \
                THEN spend_producers.records + COALESCE(sum(spend_batches.records), 0) END \
                AS {text}) AS records \
        FROM spend_producers LEFT JOIN spend_batches \
            ON spend_batches.producer = spend_producers.producer \
            AND spend_batches.seq > spend_producers.high_water \
        GROUP BY spend_producers.producer, spend_producers.high_water, \
            spend_producers.last_seen, spend_producers.records, spend_producers.records_through \
        ORDER BY spend_producers.producer"
    )
}

/// The batches listed beyond the high-water mark, and the high-water mark itself, negative and less one.
const LISTED: &str = "SELECT seq AS number FROM spend_batches WHERE producer = ? \
    AND seq > (SELECT high_water FROM spend_producers WHERE producer = ?) \
    UNION ALL SELECT -1 - high_water FROM spend_producers WHERE producer = ?";

#[derive(QueryableByName)]
struct ReadProducer {
    #[diesel(sql_type = Text)]
    producer: String,
    #[diesel(sql_type = BigInt)]
    high_water: i64,
    #[diesel(sql_type = BigInt)]
    last_seen: i64,
    #[diesel(sql_type = BigInt)]
    listed: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    newest: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    records: Option<String>,
}

#[derive(QueryableByName)]
struct ReadCompared {
    #[diesel(sql_type = Text)]
    key_0: String,
    #[diesel(sql_type = Text)]
    key_1: String,
    #[diesel(sql_type = Text)]
    total_0: String,
    #[diesel(sql_type = Text)]
    total_1: String,
    #[diesel(sql_type = Text)]
    total_2: String,
    #[diesel(sql_type = Text)]
    total_3: String,
    #[diesel(sql_type = Text)]
    rows_0: String,
    #[diesel(sql_type = Text)]
    rows_1: String,
    #[diesel(sql_type = Text)]
    rows_2: String,
    #[diesel(sql_type = Text)]
    rows_3: String,
}

impl Pair {
    /// What disagrees: totals that are not the sum of their rows, and rows without a total. `text` is
    /// the type a number is cast to.
    ///
    /// Each total looks its rows up by their key, and each row its total. A join with the summed rows
    /// would say the same, but MariaDB gives them no index when the key is as long as ours, and
    /// compares each with each: eight thousand accounts took it half a minute.
    fn statement(&self, text: &str) -> String {
        let Self {
            total,
            rows,
            key: [one, two],
            values,
        } = self;
        let same = format!("{rows}.{one} = {total}.{one} AND {rows}.{two} = {total}.{two}");
        let own: Vec<_> = values.iter().map(|v| format!("{total}.{v}")).collect();
        let sums: Vec<_> = values
            .iter()
            .map(|v| format!("COALESCE(sum({rows}.{v}), 0)"))
            .collect();
        let looked_up = |what: &str| format!("(SELECT {what} FROM {rows} WHERE {same})");
        let each: Vec<_> = sums.iter().map(|sum| looked_up(sum)).collect();
        format!(
            "SELECT {total}.{one} AS key_0, {total}.{two} AS key_1, {}, {} \
             FROM {total} WHERE ({}) <> {} \
             UNION ALL SELECT {rows}.{one}, {rows}.{two}, {}, {} \
             FROM {rows} WHERE NOT EXISTS (SELECT 1 FROM {total} WHERE {same}) \
             GROUP BY {rows}.{one}, {rows}.{two} LIMIT {MAX_DISAGREEMENTS}",
            four("total", &own, text),
            four("rows", &each, text),
            own.join(", "),
            looked_up(&sums.join(", ")),
            four("total", &[], text),
            four("rows", &sums, text),
        )
    }
}

/// Four columns of text, `0` where there is no number for one.
fn four(name: &str, numbers: &[String], text: &str) -> String {
    let column = |at| {
        let number = numbers.get(at).map_or("0", String::as_str);
        format!("CAST({number} AS {text}) AS {name}_{at}")
    };
    (0..4).map(column).collect::<Vec<_>>().join(", ")
}

impl Store {
    /// Accounts that are not the sum of their days, the first [`MAX_DISAGREEMENTS`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn accounts_that_disagree(&self) -> Result<Vec<Compared>, Error> {
        let read = reading!(self, |conn| compare(conn, &ACCOUNTS))?;
        Ok(read.into_iter().map(Compared::from).collect())
    }

    /// Pairs of endpoint and model that are not the sum of their minutes, the first
    /// [`MAX_DISAGREEMENTS`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tokens_that_disagree(&self) -> Result<Vec<Compared>, Error> {
        let read = reading!(self, |conn| compare(conn, &TOKENS))?;
        Ok(read.into_iter().map(Compared::from).collect())
    }

    /// How far each producer has come, and what is missing on the way.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn progress(&self) -> Result<Vec<Progress>, Error> {
        let read = reading!(self, |conn| producers(conn))?;
        let mut all = Vec::with_capacity(read.len());
        for one in read {
            let newest = one.newest.unwrap_or(one.high_water);
            // As many as there would be: nothing can be missing.
            let (through, newest, missing) = if newest - one.high_water == one.listed {
                (newest.unsigned_abs(), newest.unsigned_abs(), Vec::new())
            } else {
                let name = [Value::Text(&one.producer); 3];
                let mut listed = reading!(self, |conn| conn.numbers(LISTED, &name))?;
                listed.sort_unstable();
                // It may have been raised since we asked for it.
                let mark = listed.first().map_or(one.high_water, |first| -1 - first);
                followed(mark, listed.get(1..).unwrap_or_default())
            };
            all.push(Progress {
                producer: one.producer,
                through,
                newest,
                missing,
                last_seen: one.last_seen,
                records: one.records.and_then(|records| records.parse().ok()),
            });
        }
        Ok(all)
    }
}

async fn compare<C: Dialect>(connection: &mut C, pair: &Pair) -> Result<Vec<ReadCompared>, Error>
where
    ReadCompared: QueryableByName<C::Backend>,
{
    connection.rows(&pair.statement(C::TEXT), &[]).await
}

async fn producers<C: Dialect>(connection: &mut C) -> Result<Vec<ReadProducer>, Error>
where
    ReadProducer: QueryableByName<C::Backend>,
{
    connection.rows(&asking_for_producers(C::TEXT), &[]).await
}

impl From<ReadCompared> for Compared {
    fn from(read: ReadCompared) -> Self {
        // Sums of whole numbers: no database has more digits than these take.
        let number = |text: String| text.parse().unwrap_or(i128::MAX);
        Self {
            of: [read.key_0, read.key_1],
            total: [read.total_0, read.total_1, read.total_2, read.total_3].map(number),
            rows: [read.rows_0, read.rows_1, read.rows_2, read.rows_3].map(number),
        }
    }
}

/// From the number up to which all is there, through those that are listed beyond it.
fn followed(high_water: i64, listed: &[i64]) -> (u64, u64, Vec<(u64, u64)>) {
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
    (through.unsigned_abs(), newest.unsigned_abs(), missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_lies_between_what_is_there() {
        assert_eq!(followed(5, &[]), (5, 5, vec![]));
        assert_eq!(followed(5, &[6, 7]), (7, 7, vec![]));
        assert_eq!(followed(0, &[2]), (0, 2, vec![(1, 1)]));
        assert_eq!(followed(3, &[4, 8, 9, 11]), (4, 11, vec![(5, 7), (10, 10)]));
    }
}
