//! Do the counts agree? Asked of a running router, and of the database.
//!
//! A router answers for its own records: written down, and since then in the database, in dead
//! letters, or still pending, where what is pending is counted in the journal and not computed from the rest.
//! And what it takes for done the database has to have, record by record, from that router's own run:
//! a database that was restored to an older state is found so. The database answers for every producer there
//! ever was: its batches are numbered without gaps, so a number that is missing below one that is there
//! is usage that some journal still holds. And each transaction writes all tables, so their sums have to
//! agree, but for what is in dead letters: that is read, and added where it is missing, so that a letter
//! hides no other difference.
//!
//! Batches may overtake one another, and a letter is replayed in two steps. So what does not hold is
//! looked at again, until it holds or the limit is reached.

mod problem;
mod sums;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{SpendStats, payload};
use crate::store::{Compared, Error, MAX_DISAGREEMENTS, Progress, SpendSums, Store};
use problem::{disagreement, missing};

pub use problem::Problem;
pub use sums::Sums;

/// Dead letters read at once: they may be large.
const LETTERS: u32 = 100;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Records of one router, since it started or found in its journal then.
#[derive(Clone, Copy, Debug, Default, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
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
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct Audit {
    /// Each that ever wrote.
    pub producers: Vec<Producer>,
    /// Dead letters that wait to be replayed.
    pub dead_letters: u64,
    /// What does not hold.
    pub problems: Vec<Problem>,
}

/// One run of one router, or one dead letter that was replayed.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct Producer {
    /// Its id.
    pub producer: String,
    /// The batches up to this one are all in the database.
    pub through: u64,
    /// The newest batch in the database.
    pub newest: u64,
    /// First and last of the batches that are missing before that.
    pub missing: Vec<(u64, u64)>,
    /// Records in its batches that are in the database, those that were set aside included; null when
    /// a router of an older version wrote some of them, and did not count.
    pub records: Option<u64>,
    /// Of these, those in dead letters that have not been replayed.
    pub dead_lettered: u64,
    /// When something of it was last written, in Unix seconds.
    pub last_seen: i64,
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
/// there is one, about its own. What does not hold is looked at again for as long as `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn verify(
    store: &Store,
    router: Option<&SpendStats>,
    limit: Duration,
) -> Result<Audit, Error> {
    let deadline = Instant::now() + limit;
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

/// What waits in dead letters.
#[derive(Default)]
struct Letters {
    count: u64,
    /// Records, by producer.
    records: BTreeMap<String, u64>,
    /// By kind and entity, what the letters would add to the days more than to the total.
    imbalance: BTreeMap<[String; 2], Sums>,
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
        letters.imbalance.retain(|_, sums| *sums != Sums::default());
        Ok(letters)
    }

    fn add(&mut self, kind: &str, entity: &str, spent: SpendSums, sign: i128) {
        let key = [kind.to_owned(), entity.to_owned()];
        let sums = self.imbalance.entry(key).or_default();
        sums.spend_nano_usd += sign * i128::from(spent.nano_usd);
        sums.input_tokens += sign * i128::from(spent.input);
        sums.output_tokens += sign * i128::from(spent.output);
        sums.requests += sign * i128::from(spent.requests);
    }

    /// Those that disagree by more, less or something else than letters hold.
    fn unexplained(&self, accounts: Vec<Compared>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for compared in accounts {
            let letters = self
                .imbalance
                .get(&compared.of)
                .copied()
                .unwrap_or_default();
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
