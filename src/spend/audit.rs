//! Does it add up? Asked of a living router, and of the database.
//!
//! A router answers for its own records: written down, and since then in the database, in dead
//! letters, or still owed, where what is owed is counted in the journal and not computed from the rest.
//! The database answers for every producer there ever was: its batches are numbered without gaps, so
//! a number that is missing below one that is there is usage that some journal still holds. And each
//! transaction writes all tables, so their sums have to agree.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Spend, payload};
use crate::store::{Error, Store};

/// More dead letters than anybody has read.
const MOST_LETTERS: u32 = 1_000_000;

/// Records of one router, since it started or found in its journal then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// Accounts whose total is not the sum of their days.
    pub accounts_that_disagree: u64,
    /// Pairs of endpoint and model whose total is not the sum of their minutes.
    pub pairs_that_disagree: u64,
}

/// One run of one router.
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
    /// Records in dead letters that have not been replayed.
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
    /// Nothing is missing and all sums agree. While there are dead letters sums may differ by those.
    #[must_use]
    pub fn holds(&self) -> bool {
        let dead: u64 = self.producers.iter().map(|one| one.dead_lettered).sum();
        let disagree = self.accounts_that_disagree + self.pairs_that_disagree;
        self.producers.iter().all(|one| one.missing.is_empty()) && (disagree == 0 || dead > 0)
    }
}

impl Spend {
    /// What this router has written down, and what has become of it.
    #[must_use]
    pub fn account(&self) -> Account {
        let stats = self.stats();
        let look = || Account {
            recorded: stats.recorded(),
            committed: stats.committed(),
            dead_lettered: stats.dead_lettered(),
            pending: stats.owed(),
        };
        // The four are not read in one moment; what is the same twice in a row was so in between.
        let mut before = look();
        for _ in 0..100 {
            let now = look();
            if now == before && now.holds() {
                break;
            }
            before = now;
            std::hint::spin_loop();
        }
        before
    }
}

/// Asks the database about everything that was ever written to it.
///
/// # Errors
/// When it does not answer.
pub async fn verify(store: &Store) -> Result<Audit, Error> {
    let mut dead: BTreeMap<String, u64> = BTreeMap::new();
    for letter in store.dead_letters(true, MOST_LETTERS).await? {
        let records = payload::decode(letter.payload.as_bytes()).map_or(0, |kept| kept.records);
        *dead.entry(letter.batch.producer.to_string()).or_default() += records;
    }
    let progress = store.progress().await?.into_iter();
    let producers = progress.map(|one| Producer {
        dead_lettered: dead.get(&one.producer).copied().unwrap_or(0),
        through: one.through,
        newest: one.newest,
        missing: one.missing,
        last_seen: one.last_seen,
        producer: one.producer,
    });
    let producers = producers.collect();
    let (accounts_that_disagree, pairs_that_disagree) = store.disagreements().await?;
    Ok(Audit {
        producers,
        accounts_that_disagree,
        pairs_that_disagree,
    })
}
