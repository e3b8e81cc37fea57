//! Does it add up? Asked of a living router, and of the database.
//!
//! A router answers for its own records: written down, and since then in the database, in dead
//! letters, or still owed, where what is owed is counted in the journal and not computed from the rest.
//! And what it takes for done the database has to have, record by record, from that router's own run:
//! a database that was set back to yesterday is found so. The database answers for every producer there ever was: its batches are numbered without gaps, so
//! a number that is missing below one that is there is usage that some journal still holds. And each
//! transaction writes all tables, so their sums have to agree, but for what is in dead letters: that
//! is read, and added where it is missing, so that a letter hides nothing else.
//!
//! Batches may overtake one another, and a letter is replayed in two steps. So what does not hold is
//! looked at again, until it holds or the patience is over.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{SpendStats, payload};
use crate::store::{Compared, Error, MAX_DISAGREEMENTS, Progress, SpendSums, Store};

/// Dead letters read at once: they may be large.
const LETTERS: u32 = 100;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Records of one router, since it started or found in its journal then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Written down.
    pub recorded: u64,
    /// In the database.
    pub committed: u64,
    /// At least in part in dead letters.
    pub dead_lettered: u64,
    /// In the journal, and in neither.
    pub pending: u64,
}

/// What the database says about all producers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Each that ever wrote.
    pub producers: Vec<Producer>,
    /// Dead letters that wait to be replayed.
    pub dead_letters: u64,
    /// What does not hold.
    pub problems: Vec<Problem>,
}

/// One run of one router, or one dead letter that was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// Its id.
    pub producer: String,
    /// The batches up to this one are all in the database.
    pub through: u64,
    /// The newest batch in the database.
    pub newest: u64,
    /// First and last of the batches that are missing before that.
    pub missing: Vec<(u64, u64)>,
    /// Records in its batches that are in the database, those that were set aside included; `None` when
    /// a router of an older version wrote some of them, and did not count.
    pub records: Option<u64>,
    /// Of these, those in dead letters that have not been replayed.
    pub dead_lettered: u64,
    /// When something of it was last written, in Unix seconds.
    pub last_seen: i64,
}

/// Something that should be and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
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
        /// Which run; `None`: of all that are in its journal.
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

/// Sums of anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Money.
    pub spend_nano_usd: i128,
    /// Tokens read.
    pub input_tokens: i128,
    /// Tokens written.
    pub output_tokens: i128,
    /// Answered requests.
    pub requests: i128,
}

impl Account {
    /// Nothing is lost, and nothing was made up.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.recorded == self.committed + self.dead_lettered + self.pending
    }
}

impl Audit {
    /// Nothing is missing and all sums agree, to the last dead letter.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    /// Holds what is in the database against what its router says: `before` it was looked at, and now.
    fn compare(&mut self, router: &SpendStats, producer: &str, before: Account) {
        let (all, (_, now)) = (router.account(), router.own());
        let of_it = |one: &&Producer| one.producer == producer;
        let applied = self.producers.iter().find(of_it);
        let applied = applied.map_or(Some(0), |producer| producer.records);
        let done = before.committed + before.dead_lettered;
        if let Some(applied) = applied
            && !(done..=now.recorded).contains(&applied)
        {
            self.problems.push(Problem::Records {
                producer: producer.to_owned(),
                done,
                recorded: now.recorded,
                applied,
            });
        }
        for (producer, account) in [(None, all), (Some(producer.to_owned()), now)] {
            if !account.holds() {
                self.problems.push(Problem::Account { producer, account });
            }
        }
    }
}

/// Asks the database about everything that was ever written to it, and a router that is running, if
/// there is one, about its own. What does not hold is looked at again for as long as `patience`.
///
/// # Errors
/// When the database does not answer.
pub async fn verify(
    store: &Store,
    router: Option<&SpendStats>,
    patience: Duration,
) -> Result<Audit, Error> {
    let deadline = Instant::now() + patience;
    loop {
        let before = router.map(SpendStats::own);
        let mut audit = look(store).await?;
        if let (Some(router), Some((producer, before))) = (router, before) {
            audit.compare(router, &producer.to_string(), before);
        }
        if audit.holds() || Instant::now() + PAUSE > deadline {
            return Ok(audit);
        }
        sleep(PAUSE).await;
    }
}

async fn look(store: &Store) -> Result<Audit, Error> {
    let letters = Letters::read(store).await?;
    let progress = store.progress().await?;
    let mut problems: Vec<Problem> = progress.iter().flat_map(missing).collect();
    let accounts = store.accounts_that_disagree().await?;
    let tokens = store.tokens_that_disagree().await?;
    let more = accounts.len() >= MAX_DISAGREEMENTS || tokens.len() >= MAX_DISAGREEMENTS;
    problems.extend(letters.unexplained(accounts));
    problems.extend(tokens.into_iter().map(disagreement));
    if more {
        problems.push(Problem::More);
    }
    let producer = |one: Progress| Producer {
        dead_lettered: letters.records.get(&one.producer).copied().unwrap_or(0),
        records: one.records,
        through: one.through,
        newest: one.newest,
        missing: one.missing,
        last_seen: one.last_seen,
        producer: one.producer,
    };
    Ok(Audit {
        producers: progress.into_iter().map(producer).collect(),
        dead_letters: letters.count,
        problems,
    })
}

fn missing(one: &Progress) -> Vec<Problem> {
    let gap = |&(first, last): &(u64, u64)| Problem::Missing {
        producer: one.producer.clone(),
        first,
        last,
    };
    one.missing.iter().map(gap).collect()
}

fn disagreement(compared: Compared) -> Problem {
    let three = |[a, b, c, _]: [i128; 4]| [a, b, c];
    let [endpoint, model] = compared.of;
    Problem::Tokens {
        endpoint,
        model,
        total: three(compared.total),
        minutes: three(compared.rows),
    }
}

/// What waits in dead letters.
#[derive(Default)]
struct Letters {
    count: u64,
    /// Records, by producer.
    records: BTreeMap<String, u64>,
    /// By kind and entity, what the letters would add to the days more than to the total.
    lopsided: BTreeMap<[String; 2], Sums>,
}

impl Letters {
    async fn read(store: &Store) -> Result<Self, Error> {
        let mut letters = Self::default();
        let mut after = (i64::MIN, String::new());
        loop {
            let page = store
                .dead_letters_after(true, (after.0, &after.1), LETTERS)
                .await?;
            let Some(last) = page.last() else { break };
            after = (last.created_at, last.id.to_string());
            letters.count += page.len() as u64;
            for letter in page {
                // An entry of the stream that is no batch holds nothing that anybody counted.
                let Ok(kept) = payload::decode(letter.payload.as_bytes()) else {
                    continue;
                };
                *letters
                    .records
                    .entry(letter.batch.producer.to_string())
                    .or_default() += kept.records;
                for row in kept.spend {
                    letters.add(row.kind.as_str(), &row.entity, row.spent, -1);
                }
                for row in kept.daily {
                    letters.add(row.kind.as_str(), &row.entity, row.spent, 1);
                }
            }
        }
        letters.lopsided.retain(|_, sums| *sums != Sums::default());
        Ok(letters)
    }

    fn add(&mut self, kind: &str, entity: &str, spent: SpendSums, sign: i128) {
        let key = [kind.to_owned(), entity.to_owned()];
        let sums = self.lopsided.entry(key).or_default();
        sums.spend_nano_usd += sign * i128::from(spent.nano_usd);
        sums.input_tokens += sign * i128::from(spent.input);
        sums.output_tokens += sign * i128::from(spent.output);
        sums.requests += sign * i128::from(spent.requests);
    }

    /// Those that disagree by more, less or something else than letters hold.
    fn unexplained(&self, accounts: Vec<Compared>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for compared in accounts {
            let letters = self.lopsided.get(&compared.of).copied().unwrap_or_default();
            let (total, days) = (Sums::from(compared.total), Sums::from(compared.rows));
            if total == days + letters {
                continue;
            }
            let [kind, entity] = compared.of;
            problems.push(Problem::Spend {
                kind,
                entity,
                total,
                days,
                letters,
            });
        }
        problems
    }
}

impl From<[i128; 4]> for Sums {
    fn from([money, input, output, requests]: [i128; 4]) -> Self {
        Self {
            spend_nano_usd: money,
            input_tokens: input,
            output_tokens: output,
            requests,
        }
    }
}

impl std::ops::Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            spend_nano_usd: self.spend_nano_usd + other.spend_nano_usd,
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            requests: self.requests + other.requests,
        }
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

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spend_nano_usd,
            input_tokens,
            output_tokens,
            requests,
        } = self;
        write!(
            f,
            "{spend_nano_usd} nano-USD, {input_tokens} + {output_tokens} tokens, {requests} requests"
        )
    }
}
