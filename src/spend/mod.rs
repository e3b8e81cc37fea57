//! What is owed: from a request's usage to rows in the database, each exactly once.
//!
//! ```text
//! record ─▶ journal ─▶ forward ─▶ carrier ─▶ flush ─▶ store
//!              ▲          │                    │
//!              └─ forget ─┴────── applied ─────┘
//! ```
//!
//! Owns the [`journal`] (two threads; the truth), [`forward`] (an actor: when to seal, what is on its
//! way), the [`carrier`] (what brings a batch from the process that counted to the one that writes),
//! and [`flush`] (an actor: many batches, one transaction). It must not know what a request is, who
//! sent it, or which database it is.
//!
//! A record goes straight to the journal's thread and not through the actor: that is one hop less,
//! and an actor that dies takes no record and no waiting request with it. What an actor knows can
//! all be asked for again, from the journal; so they may be killed at any moment.
//!
//! The database may be away for as long as the journal has room; nothing on a request's path ever
//! waits for it.

mod carrier;
mod flush;
mod forward;
mod journal;
mod kind;
mod recorded;
mod stats;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::domain::UsageRecord;
use crate::store::Store;
use crate::supervision::{Backoff, RestartPolicy, guardian};
use carrier::Carrier;
use journal::Journal;

pub use journal::OpenError;
pub use recorded::{NotRecorded, Recorded};
pub use stats::SpendStats;

/// What must hold a record before [`Recorded`] resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: a crash of the process may lose what was not written yet.
    Memory,
    /// The operating system: survives `kill -9`.
    Journal,
    /// The disk: survives a loss of power.
    Fsync,
}

/// How to count.
#[derive(Clone, Debug)]
pub struct Options {
    /// The journal is in its subfolder `journal`.
    pub data_dir: PathBuf,
    /// What a request waits for.
    pub durability: Durability,
    /// How long a batch stays open.
    pub seal_interval: Duration,
    /// How long sealed batches gather before they are written to the database.
    pub flush_interval: Duration,
}

/// The counting pipeline did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No journal.
    #[error("usage journal: {0}")]
    Journal(#[from] OpenError),
    /// No actors: the runtime is shutting down.
    #[error("the counting actors did not start: {0}")]
    Actors(#[from] ractor::SpawnErr),
    /// The thread that reads the journal was cancelled.
    #[error("reading the usage journal was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Not everything is in the database. It is in the journal, and will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pending} usage records are still on their way to the database")]
pub struct Unflushed {
    /// How many are not.
    pub pending: u64,
}

/// Restarting costs nothing and loses nothing; the pause only keeps a defect from burning a core.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 5,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(5)),
};

/// How long [`Spend::shutdown`] waits, beyond its deadline, for actors that have nothing to do.
const FAREWELL: Duration = Duration::from_secs(1);

/// The counting pipeline. Clones are the same one; when the last is dropped it stops, and what it
/// has not flushed stays in the journal.
#[derive(Clone)]
pub struct Spend(Arc<Inner>);

struct Inner {
    journal: Journal,
    forward: forward::Handle,
    flush: flush::Handle,
    guardian: guardian::Handle,
    stats: Arc<SpendStats>,
}

impl Spend {
    /// Replays the journal, then starts. What former processes left behind is on its way when this
    /// returns; `store` has to be migrated.
    ///
    /// # Errors
    /// When the journal's folder cannot be used.
    pub async fn start(
        options: Options,
        store: Store,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let stats = Arc::new(SpendStats::default());
        let (folder, durability) = (options.data_dir.join("journal"), options.durability);
        let counted = Arc::clone(&stats);
        let journal =
            tokio::task::spawn_blocking(move || Journal::open(&folder, durability, counted))
                .await??;
        let (forward, flush) = (forward::Handle::new(), flush::Handle::new());
        let guardian = guardian::Handle::start(
            RESTARTS,
            vec![
                flush.child(flush::Arguments {
                    store,
                    tracker,
                    interval: options.flush_interval,
                    forward: forward.clone(),
                    stats: Arc::clone(&stats),
                }),
                forward.child(forward::Arguments {
                    journal: journal.clone(),
                    carrier: Carrier::InProcess(flush.clone()),
                    interval: options.seal_interval,
                }),
            ],
        )
        .await?;
        Ok(Self(Arc::new(Inner {
            journal,
            forward,
            flush,
            guardian,
            stats,
        })))
    }

    /// Writes down what one request used. Never blocks; the future says when it is safe.
    pub fn record(&self, record: UsageRecord) -> Recorded {
        self.0.journal.record(record)
    }

    /// Brings everything recorded before this call into the database, now.
    ///
    /// # Errors
    /// When that took longer than `timeout`. It is still being tried.
    pub async fn flush_now(&self, timeout: Duration) -> Result<(), Unflushed> {
        self.flush_until(Instant::now() + timeout).await
    }

    /// Flushes until `deadline`, then stops. What could not be flushed is in the journal, sealed
    /// and synced. Records are refused from now on.
    ///
    /// # Errors
    /// When something stayed in the journal.
    pub async fn shutdown(&self, deadline: Instant) -> Result<(), Unflushed> {
        let inner = &self.0;
        let flushed = self.flush_until(deadline).await;
        inner.guardian.retire().await;
        let farewell = deadline.max(Instant::now()) + FAREWELL;
        let drained = timeout_at(farewell, async {
            // In this order: the flush actor's last word goes to the forward actor.
            inner.flush.drain().await;
            inner.forward.drain().await;
        });
        if drained.await.is_err() {
            tracing::warn!("the counting actors did not end in time");
        }
        inner.journal.close().await;
        flushed
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> &Arc<SpendStats> {
        &self.0.stats
    }

    /// Whether the last write to the journal succeeded.
    #[must_use]
    pub fn journal_healthy(&self) -> bool {
        self.0.stats.journal_healthy()
    }

    /// Fault drill: the forward actor dies, as if it had panicked.
    pub fn kill_forward_actor(&self) {
        self.0.forward.kill();
    }

    /// Fault drill: the flush actor dies, as if it had panicked.
    pub fn kill_flush_actor(&self) {
        self.0.flush.kill();
    }

    async fn flush_until(&self, deadline: Instant) -> Result<(), Unflushed> {
        let flushed = async {
            // An actor that dies before it answers has a successor soon.
            while !self.0.forward.flush().await {
                tokio::time::sleep(RESTARTS.backoff.delay(1, 0.0)).await;
            }
        };
        timeout_at(deadline, flushed).await.map_err(|_| Unflushed {
            pending: self.0.stats.pending(),
        })
    }
}

impl std::fmt::Debug for Spend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spend")
            .field("stats", &self.0.stats)
            .finish_non_exhaustive()
    }
}
