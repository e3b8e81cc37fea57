//! Where every record is at this moment, for operators.
//!
//! Owns nothing: the journal's counters, the forwarder's and the flush actor's own lists, the lease, and
//! Redis are asked at once. Records move while one looks, so the places need not add up to the last
//! one; [`Account`] does.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::{Account, Spend};

/// After this an actor's answer is not waited for any more.
const ANSWER: Duration = Duration::from_secs(1);

/// Where every record is.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// What brings batches to whoever writes to the database.
    #[serde(rename = "carrier")]
    pub transport: Transport,
    /// Records since this router started, and those it found in its journal then.
    pub records: Account,
    /// Records that could not be written down.
    pub refused: u64,
    /// The journal on this router's disk.
    pub journal: JournalState,
    /// Batches of this router that are not known to be in the database, by where they are.
    pub places: Places,
    /// The stream all routers share; nothing without Redis.
    pub redis: Option<RedisState>,
    /// Who writes; nothing without Redis, where every router does.
    pub lease: Option<LeaseState>,
}

/// What brings batches to whoever writes to the database.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Transport {
    /// The stream that all routers share.
    Redis,
    /// This router writes to the database what it counted.
    InProcess,
}

/// The journal of one router.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct JournalState {
    /// The last write to it succeeded.
    pub healthy: bool,
    /// On disk.
    pub bytes: u64,
    /// Batches it has to bring to the database, the open one included.
    pub batches: u64,
    /// Rows of these that belong to a minute or a day.
    pub rows: u64,
    /// Age of the oldest record in them; 0 without any.
    pub oldest_unflushed_seconds: u64,
}

/// The places between a router's memory and the database.
#[derive(Clone, Copy, Debug, Default, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct Places {
    /// In the batch that is still open, or sealed and on its way to the next place.
    pub journal: Amount,
    /// Waiting for Redis to take them.
    pub to_redis: Amount,
    /// In Redis, waiting for whoever leads.
    pub in_redis: Amount,
    /// On their way from here straight to the database.
    pub to_database: Amount,
}

/// How much is in one place.
#[derive(Clone, Copy, Debug, Default, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct Amount {
    /// Batches.
    pub batches: u64,
    /// Requests in these.
    pub records: u64,
}

/// What is in the forwarder and in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InTransit {
    pub(super) to_redis: Amount,
    pub(super) in_redis: Amount,
}

/// The stream that all routers share.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct RedisState {
    /// It has answered just now; if not, the rest is what was last known.
    pub up: bool,
    /// The stream had no room for the last batch.
    pub full: bool,
    /// Batches of all routers that wait in it.
    pub batches: u64,
    /// Rows of these that belong to a minute or a day.
    pub rows: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Batches of this router that it lost, and that were sent again.
    pub resent: u64,
    /// Batches of this router that bypassed it.
    pub diverted: u64,
}

/// The right to write to the database for all routers.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(inline)]
pub struct LeaseState {
    /// This router writes to the database what all routers counted.
    pub leads: bool,
    /// Under which number.
    pub epoch: Option<u64>,
    /// For how long yet, unless the lease is renewed.
    pub left_seconds: Option<u64>,
}

impl Amount {
    pub(super) fn add(&mut self, records: u64) {
        self.batches += 1;
        self.records += records;
    }
}

impl Spend {
    /// What this router has written down, and what has become of it.
    #[must_use]
    pub fn account(&self) -> Account {
        self.stats().account()
    }

    /// Asks Redis how much waits in it, so that the gauges are true now. Waits for it no longer than
    /// `limit`; a Redis that has not answered by then is shown as away.
    pub async fn look(&self, limit: Duration) {
        let Some(shared) = &self.0.shared else { return };
        let depth = timeout(limit, (shared.depth)()).await;
        self.stats().saw(depth.ok().and_then(Result::ok));
    }

    /// Where every record is.
    pub async fn queue(&self) -> Queue {
        let (stats, shared) = (self.stats(), self.0.shared.as_ref());
        let in_transit = async {
            match shared {
                Some(shared) => shared
                    .forwarder
                    .in_transit(ANSWER)
                    .await
                    .unwrap_or_default(),
                None => InTransit::default(),
            }
        };
        let flushing = self.0.flush.queued(ANSWER);
        let (in_transit, flushing, ()) = tokio::join!(in_transit, flushing, self.look(ANSWER));
        let to_database = flushing.unwrap_or_default();
        let records = self.account();
        let elsewhere = [in_transit.to_redis, in_transit.in_redis, to_database];
        let places = Places {
            journal: Amount {
                batches: left(stats.batches(), elsewhere.map(|one| one.batches)),
                records: left(records.pending, elsewhere.map(|one| one.records)),
            },
            to_redis: in_transit.to_redis,
            in_redis: in_transit.in_redis,
            to_database,
        };
        let depth = stats.redis();
        Queue {
            transport: if shared.is_some() {
                Transport::Redis
            } else {
                Transport::InProcess
            },
            records,
            refused: stats.refused(),
            journal: JournalState {
                healthy: stats.journal_healthy(),
                bytes: stats.journal_bytes(),
                batches: stats.batches(),
                rows: stats.rows(),
                oldest_unflushed_seconds: stats.oldest_age().as_secs(),
            },
            places,
            redis: shared.map(|_| RedisState {
                up: stats.redis_up(),
                full: stats.redis_full(),
                batches: depth.batches,
                rows: depth.rows,
                bytes: depth.bytes,
                resent: stats.resent(),
                diverted: stats.diverted(),
            }),
            lease: shared.map(|shared| {
                let leadership = shared.lease.leadership();
                LeaseState {
                    leads: leadership.is_some(),
                    epoch: leadership.map(|leadership| leadership.epoch),
                    left_seconds: leadership.map(|leadership| {
                        let left = leadership.until.saturating_duration_since(Instant::now());
                        left.as_secs()
                    }),
                }
            }),
        }
    }
}

fn left(all: u64, elsewhere: [u64; 3]) -> u64 {
    all.saturating_sub(elsewhere.iter().sum())
}
