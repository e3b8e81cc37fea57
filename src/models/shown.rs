//! The pulls, as operators see them.

use std::sync::Arc;

use super::Models;
use super::jobs::Listed;
use super::merge::{Merge, Standing};
use super::outcome::Outcome;

/// One pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullShown {
    /// By what it is named.
    pub id: u64,
    /// The model, as it was spelt.
    pub model: Arc<str>,
    /// `running`, `done` or `failed`.
    pub phase: &'static str,
    /// Why it has failed.
    pub error: Option<String>,
    /// Since when, in Unix seconds.
    pub since: i64,
    /// It goes on without readers.
    pub kept: bool,
    /// How many read its progress.
    pub readers: usize,
    /// Bytes that are there.
    pub completed: u64,
    /// Bytes in all, as far as is known.
    pub total: u64,
    /// How far each server is.
    pub servers: Vec<PartShown>,
}

/// One server's part of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartShown {
    /// Its name.
    pub endpoint: Arc<str>,
    /// `running`, `done` or `failed`.
    pub phase: &'static str,
    /// What it does now.
    pub status: Arc<str>,
    /// Why it has failed.
    pub error: Option<String>,
    /// Bytes that are there.
    pub completed: u64,
    /// Bytes in all, as far as is known.
    pub total: u64,
}

impl Models {
    /// The pulls that run, and those that ended lately, the oldest first.
    pub async fn pulls(&self) -> Vec<PullShown> {
        self.0.jobs.list().await.iter().map(shown).collect()
    }

    /// Ends a pull that runs, and forgets one that has ended. Says whether there was one.
    pub async fn cancel_pull(&self, id: u64) -> bool {
        self.0.jobs.cancel(id).await
    }
}

fn shown(pull: &Listed) -> PullShown {
    let merge = pull.progress.borrow();
    let (completed, total) = merge.bytes();
    let (phase, error) = match merge.outcome() {
        None => ("running", None),
        Some(Outcome::Success) => ("done", None),
        Some(Outcome::Failed { words, .. }) => ("failed", Some(words.clone())),
    };
    PullShown {
        id: pull.id,
        model: Arc::clone(&pull.model),
        phase,
        error,
        since: pull.since,
        kept: pull.kept,
        readers: pull.readers,
        completed,
        total,
        servers: (0..merge.servers().len())
            .map(|at| part(&merge, at))
            .collect(),
    }
}

fn part(merge: &Merge, at: usize) -> PartShown {
    let share = &merge.servers()[at];
    let (completed, total) = merge.bytes_of(at);
    let (phase, error) = match &share.standing {
        Standing::Running => ("running", None),
        Standing::Done => ("done", None),
        Standing::Failed(failed) => ("failed", Some(failed.words.clone())),
    };
    PartShown {
        endpoint: Arc::clone(&share.name),
        phase,
        status: Arc::clone(&share.status),
        error,
        completed,
        total,
    }
}
