//! The journal of a router that never comes back.
//!
//! Recovering it does what that router would have done at its next start: replays the journal,
//! writes to the database what the database does not have, and removes what it has then. The ids are
//! those of that router, so it does not matter what of it has arrived over Redis meanwhile, or
//! whether it is recovered twice.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Durability, Options, Spend, StartError, Unflushed};
use crate::store::Store;

/// What was found, and what has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Records the journal held.
    pub found: u64,
    /// Of these, records that are in the database now, or had been already.
    pub committed: u64,
    /// Of these, records that no database takes whole: see the dead letters.
    pub dead_lettered: u64,
}

/// The journal was not recovered, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is nothing to recover.
    #[error("{}: no journal is there: {source}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It cannot be opened; with [`super::OpenError::InUse`] its router is running.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database did not take it in time. What is left is still in the journal.
    #[error(transparent)]
    Unflushed(#[from] Unflushed),
}

/// Brings what is in the journal of `data_dir` into `store`, which has to be migrated.
///
/// # Errors
/// [`RecoverError`]. Trying again is safe.
pub async fn recover(
    data_dir: &Path,
    store: Store,
    limit: Duration,
) -> Result<Recovered, RecoverError> {
    let path = data_dir.join("journal");
    // Opening it would make one.
    if let Err(source) = std::fs::read_dir(&path) {
        return Err(RecoverError::Missing { path, source });
    }
    let options = Options {
        data_dir: data_dir.to_owned(),
        durability: Durability::Fsync,
        seal_interval: Duration::from_millis(200),
        flush_interval: Duration::from_millis(200),
        // Nothing is recorded.
        journal_bytes: u64::MAX,
    };
    let spend = Spend::start(options, store, TaskTracker::new()).await?;
    let deadline = Instant::now() + limit;
    let flushed = spend.flush_now(limit).await;
    let stopped = spend.shutdown(deadline).await;
    // Not before: the journal is told last of what was settled.
    let stats = spend.stats();
    flushed.and(stopped)?;
    Ok(Recovered {
        found: stats.recorded(),
        committed: stats.committed(),
        dead_lettered: stats.dead_lettered(),
    })
}
