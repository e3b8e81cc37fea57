//! What is used now: live token counters and the stream of them.
//!
//! Owns the counters that `/api/usage` and `/api/usage-stream` show: tokens per (endpoint, model)
//! since the beginning (as the database had them at the start, and every answer since), and, by
//! asking a source it is given, the requests running. These are for watching. What is charged is
//! counted by [`crate::spend`], exactly once; these may be ahead of the database by a flush.
//!
//! It must not know servers or slots: the running requests come from a function. It fails
//! harmlessly: a restarted hub starts with the next change, and every subscriber gets a whole
//! snapshot each time, so none can be left behind.

mod hub;
mod snapshot;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use snapshot::Running;

use crate::domain::{ModelName, TokenCounts};
use crate::store::Store;
use crate::supervision::{Backoff, RestartPolicy, StartError};

type Tokens = Arc<DashMap<(Arc<str>, ModelName), AtomicU64, RandomState>>;
/// Returns the requests running.
pub type Source = Arc<dyn Fn() -> Running + Send + Sync>;

/// Nothing depends on the hub being back at once.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
};

/// The live counters; cheap to clone.
#[derive(Clone)]
pub struct Usage {
    tokens: Tokens,
    source: Source,
    hub: hub::Handle,
}

impl Usage {
    /// Starts from the database's totals. A database that cannot be read now only means that the
    /// totals shown start at zero.
    ///
    /// # Errors
    /// When the hub cannot be started.
    pub async fn start(
        store: &Store,
        source: Source,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let tokens = Tokens::default();
        match store.token_counts().await {
            Ok(rows) => {
                for row in rows {
                    let Ok(model) = ModelName::parse_any(&row.model) else {
                        continue;
                    };
                    let total = u64::try_from(row.total_tokens).unwrap_or_default();
                    tokens.insert((row.endpoint.into(), model), AtomicU64::new(total));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "token totals not read; live counts start at zero")
            }
        }
        let hub = hub::Handle::start(RESTARTS, Arc::clone(&tokens), Arc::clone(&source), tracker);
        let hub = hub.await?;
        Ok(Self {
            tokens,
            source,
            hub,
        })
    }

    /// The requests running have changed.
    pub fn touched(&self) {
        self.hub.touched();
    }

    /// An answer has been counted.
    pub fn counted(&self, endpoint: &Arc<str>, model: &ModelName, tokens: TokenCounts) {
        let key = (Arc::clone(endpoint), model.clone());
        if let Some(total) = self.tokens.get(&key) {
            total.fetch_add(tokens.total(), Ordering::Relaxed);
        } else {
            let total = self.tokens.entry(key).or_default();
            total.fetch_add(tokens.total(), Ordering::Relaxed);
        }
        self.hub.touched();
    }

    /// `{"token_usage_counts":…,"usage_counts":…}` as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Bytes {
        snapshot::render(&self.tokens, &(self.source)())
    }

    /// The same, of these models only.
    #[must_use]
    pub fn snapshot_of(&self, shown: impl Fn(&ModelName) -> bool) -> Bytes {
        snapshot::render_of(&self.tokens, &(self.source)(), shown)
    }

    /// A snapshot now and after each change, at most ten a second. A slow reader misses the ones
    /// in between, never the last.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Bytes> {
        self.hub.subscribe(|| self.snapshot())
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage")
            .field("pairs", &self.tokens.len())
            .finish_non_exhaustive()
    }
}
