//! Counting: from a request's usage to rows in the database, each record exactly once.
//!
//! ```text
//! record ─▶ journal ─▶ sealing ─▶ forwarder ─▶ stream in Redis ─▶ drain ─▶ store
//!              ▲          │  ▲       │    │        (the leader)              │
//!              │          │  │       │    └──────▶ flush ───────────────────▶│
//!              │          │  │       └───────────── applied? ───────────────▶│
//!              └─ forget ─┘  └─────────────────── settled ◀──────────────────┘
//! ```
//!
//! Owns the [`journal`] (two threads; the source of truth), [`sealing`] (an actor: when to seal, what is in
//! transit), the [`forwarder`] and the [`stream`] (how batches reach whoever writes), the [`drain`] (an
//! actor: the stream into the database, while this router leads) and [`flush`] (an actor: this
//! router's own batches into the database, without Redis or when Redis does not accept them). It must not
//! know what a request is, who sent it, or which database it is.
//!
//! A record goes straight to the journal's thread and not through an actor: that is one hop less,
//! and a crash of an actor loses no record and fails no waiting request. All state of an actor can be
//! read again from the journal; so they may be killed at any moment.
//!
//! Nothing between the journal and the database is trusted. Redis may lose everything, a batch may
//! arrive twice, late, or by two paths; two routers may think they lead. The database takes each id
//! once, and the journal forgets what the database says it has, and nothing else.
//!
//! The database may be away for as long as the journal has room; nothing on a request's path ever
//! waits for it, nor for Redis unless [`Durability::Redis`] was asked for.

mod audit;
mod drain;
mod flush;
mod folding;
mod forwarder;
mod journal;
mod kind;
mod options;
mod payload;
mod portion;
mod prune;
mod queue;
mod recorded;
mod recover;
mod replay;
mod retention;
mod sealing;
mod settlement;
mod start;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod transaction;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::cluster::lease;
use crate::domain::UsageRecord;
use crate::supervision::{Backoff, RestartPolicy, Supervisor};
use journal::Journal;

pub use audit::{Account, Audit, Problem, Producer, Sums, verify};
pub use folding::{Fold, FoldError, Folding};
pub use journal::OpenError;
pub use options::{Durability, Options, Redis};
pub use queue::{Amount, JournalState, LeaseState, Places, Queue, RedisState, Transport};
pub use recorded::{NotRecorded, Recorded};
pub use recover::{RecoverError, Recovered, recover};
pub use replay::{Replayed, records_in, replay};
pub use retention::{Keeping, Retention};
pub use start::StartError;
pub use stats::SpendStats;
pub use stream::{Depth, Stream, StreamError, StreamLimits};

/// Not everything is in the database. It is in the journal, and will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pending} usage records are still on their way to the database")]
pub struct Unflushed {
    /// How many are not.
    pub pending: u64,
}

/// Restarting costs nothing and loses nothing; the pause only keeps a defect from using a whole core.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 5,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(5)),
};

/// How long [`Spend::shutdown`] waits, beyond its deadline, for actors that have nothing to do.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// The counting pipeline. Clones are the same one; when the last is dropped it stops, and what it
/// has not flushed stays in the journal.
#[derive(Clone)]
pub struct Spend(Arc<Inner>);

struct Inner {
    journal: Journal,
    sealing: sealing::Handle,
    flush: flush::Handle,
    /// With Redis.
    shared: Option<Shared>,
    supervisor: Supervisor,
    stats: Arc<SpendStats>,
}

/// What there is only with Redis.
struct Shared {
    lease: lease::Handle,
    forwarder: forwarder::Handle,
    drain: drain::Handle,
    /// Asks Redis how much waits in it.
    depth: Box<dyn Fn() -> BoxFuture<'static, Result<Depth, StreamError>> + Send + Sync>,
}

impl Spend {
    /// Writes down what one request used. Never blocks; the future says when it is safe.
    pub fn record(&self, record: UsageRecord) -> Recorded {
        self.0.journal.record(record)
    }

    /// Brings everything recorded before this call into the database, now, bypassing Redis.
    ///
    /// # Errors
    /// When that took longer than `timeout`. It is still being tried.
    pub async fn flush_now(&self, timeout: Duration) -> Result<(), Unflushed> {
        self.flush_until(Instant::now() + timeout).await
    }

    /// Releases the lease, flushes until `deadline`, then stops. What could not be flushed is in
    /// the journal, sealed and synced. Records are refused from now on.
    ///
    /// # Errors
    /// When something stayed in the journal.
    pub async fn shutdown(&self, deadline: Instant) -> Result<(), Unflushed> {
        let inner = &self.0;
        let shared = inner.shared.as_ref();
        let resigned = async {
            if let Some(shared) = shared {
                shared.drain.finish().await;
                shared.lease.resign().await;
            }
        };
        let (_, flushed) = tokio::join!(timeout_at(deadline, resigned), self.flush_until(deadline));
        inner.supervisor.stop_restarting().await;
        let last = deadline.max(Instant::now()) + LAST_MESSAGES;
        let drained = timeout_at(last, async {
            // In this order: the last messages of each go to the one after it.
            if let Some(shared) = shared {
                shared.drain.drain().await;
                shared.lease.drain().await;
                shared.forwarder.drain().await;
            }
            inner.flush.drain().await;
            inner.sealing.drain().await;
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

    /// Fault injection: ends the sealing actor as a panic would.
    pub fn kill_sealing_actor(&self) {
        self.0.sealing.kill();
    }

    /// Fault injection: ends the flush actor as a panic would.
    pub fn kill_flush_actor(&self) {
        self.0.flush.kill();
    }

    /// Fault injection: ends the actors that work with Redis as a panic would.
    pub fn kill_redis_actors(&self) {
        if let Some(shared) = &self.0.shared {
            shared.forwarder.kill();
            shared.drain.kill();
            shared.lease.kill();
        }
    }

    /// Fault injection: everything ends where it is, as with `kill -9`. Nothing is sealed, synced or
    /// given back; what was sent may still arrive.
    pub async fn crash(&self) {
        self.0.journal.crash().await;
        self.0.supervisor.stop_restarting().await;
        self.kill_redis_actors();
        self.kill_flush_actor();
        self.kill_sealing_actor();
    }

    async fn flush_until(&self, deadline: Instant) -> Result<(), Unflushed> {
        let flushed = async {
            // An actor that crashes before it answers is restarted soon.
            while !self.0.sealing.flush().await {
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
