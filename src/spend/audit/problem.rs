//! What does not add up, and how people are told.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::Account;
use super::sums::Sums;
use crate::store::{Compared, Progress};

/// Something that should be and is not.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[schemars(inline)]
pub enum Problem {
    /// Later batches of this producer are in the database, these are not.
    Missing {
        /// Whose.
        producer: String,
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// The database has fewer records of a run than its router takes for done, or more than it ever
    /// wrote down.
    Records {
        /// Whose.
        producer: String,
        /// What the router takes for done.
        done: u64,
        /// What it has written down.
        recorded: u64,
        /// What the database has.
        applied: u64,
    },
    /// The records of a router are not all somewhere.
    Account {
        /// Which run; null: of all that are in its journal.
        producer: Option<String>,
        /// What it says.
        account: Account,
    },
    /// The total of an account is not the sum of its days.
    Spend {
        /// What it is.
        kind: String,
        /// Which one.
        entity: String,
        /// What `spend` says.
        total: Sums,
        /// What `daily_spend` says.
        days: Sums,
        /// By how much `total` and `days` may differ because of dead letters.
        letters: Sums,
    },
    /// The total of a model on an endpoint is not the sum of its minutes.
    Tokens {
        /// The endpoint.
        endpoint: String,
        /// The model.
        model: String,
        /// Tokens read, written, and both, by `token_counts`.
        total: [i128; 3],
        /// The same by `token_time_series`.
        minutes: [i128; 3],
    },
    /// There are more like these.
    More,
}

pub(super) fn missing(one: &Progress) -> Vec<Problem> {
    let gap = |&(first, last): &(u64, u64)| Problem::Missing {
        producer: one.producer.clone(),
        first,
        last,
    };
    one.missing.iter().map(gap).collect()
}

pub(super) fn disagreement(compared: Compared) -> Problem {
    let three = |[a, b, c, _]: [i128; 4]| [a, b, c];
    let [endpoint, model] = compared.of;
    Problem::Tokens {
        endpoint,
        model,
        total: three(compared.total),
        minutes: three(compared.rows),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing {
                producer,
                first,
                last,
            } => write!(
                f,
                "batches {first} to {last} of producer {producer} are not in the database, and later ones are"
            ),
            Self::Records {
                producer,
                done,
                recorded,
                applied,
            } => write!(
                f,
                "this router, as producer {producer}, wrote down {recorded} requests and takes {done} of \
                 them for done; the database has {applied}"
            ),
            Self::Account { account, .. } => {
                let Account {
                    recorded,
                    committed,
                    dead_lettered,
                    pending,
                } = account;
                write!(
                    f,
                    "this router recorded {recorded} requests, of which {committed} are committed, \
                     {pending} pending and {dead_lettered} dead-lettered"
                )
            }
            Self::Spend {
                kind,
                entity,
                total,
                days,
                letters,
            } => {
                write!(
                    f,
                    "{kind} {entity}: spend says {total}, its days in daily_spend {days}"
                )?;
                if *letters != Sums::default() {
                    write!(
                        f,
                        ", and dead letters would explain a difference of {letters}"
                    )?;
                }
                Ok(())
            }
            Self::Tokens {
                endpoint,
                model,
                total,
                minutes,
            } => write!(
                f,
                "{model} on {endpoint}: token_counts says {total:?} (read, written, both), \
                 its minutes in token_time_series {minutes:?}"
            ),
            Self::More => write!(f, "and there are more accounts or models like these"),
        }
    }
}
