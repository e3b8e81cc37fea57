//! One router's pipeline, in a runtime of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use herdsman::cluster::DeferredConnection;
use herdsman::spend::{Durability, Options, Redis, Spend, StreamLimits};
use herdsman::store::Store;
use herdsman_multidb::{DatabaseConfig, MultiDb, MultiDbConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{SOON, record};

/// What it shall be, before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    pub dir: PathBuf,
    /// The heaviest first; none: in one process.
    pub redis: Vec<String>,
    /// They are nodes of one cluster.
    pub cluster: bool,
    pub durability: Durability,
    pub lease_ttl: Duration,
    pub accept_timeout: Duration,
    pub give_up: Duration,
    pub seal_interval: Duration,
    pub flush_interval: Duration,
    pub limits: StreamLimits,
    pub journal_bytes: u64,
}

/// Running until it is stopped or crashes. Dropped, it crashes.
pub struct Router {
    pub spend: Spend,
    pub plan: Plan,
    /// A clone of the pipeline may outlive it, and then nothing of it runs.
    runtime: Option<Runtime>,
}

impl Plan {
    pub fn new(name: &str, dir: &Path, redis: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.join(name),
            redis,
            cluster: false,
            durability: Durability::Journal,
            lease_ttl: Duration::from_secs(2),
            accept_timeout: Duration::from_secs(60),
            give_up: Duration::from_secs(60),
            seal_interval: Duration::from_millis(10),
            flush_interval: Duration::from_millis(20),
            limits: StreamLimits::default(),
            journal_bytes: 1 << 30,
        }
    }

    pub async fn start(self, store: Store) -> Router {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let plan = self.clone();
        let spend = runtime
            .spawn(async move { self.pipeline(store).await })
            .await
            .unwrap();
        Router {
            spend,
            plan,
            runtime: Some(runtime),
        }
    }

    /// In the runtime of whoever calls.
    pub async fn pipeline(self, store: Store) -> Spend {
        let options = Options {
            data_dir: self.dir.clone(),
            durability: self.durability,
            seal_interval: self.seal_interval,
            flush_interval: self.flush_interval,
            journal_bytes: self.journal_bytes,
        };
        std::fs::create_dir_all(&self.dir).unwrap();
        let tracker = TaskTracker::new();
        if self.redis.is_empty() {
            return Spend::start(options, store, tracker).await.unwrap();
        }
        let (urls, mut weight) = (self.redis.clone(), 1.0);
        let databases: Vec<_> = if self.cluster {
            vec![DatabaseConfig::cluster(urls)]
        } else {
            let single = urls.into_iter().map(|url| {
                weight /= 2.0;
                DatabaseConfig::from_url(url).weight(weight)
            });
            single.collect()
        };
        let connection = DeferredConnection::connect(&tracker, move || {
            let config = MultiDbConfig::new(databases.clone())
                .response_timeout(Duration::from_millis(700))
                .connect_timeout(Duration::from_secs(1))
                .health_check_interval(Duration::from_millis(200))
                .health_check_probes(1)
                .health_check_delay(Duration::ZERO)
                .auto_fallback_interval(None);
            async { MultiDb::connect(config).await.map(|db| db.idempotent()) }
        })
        .await;
        let redis = Redis {
            lease_ttl: self.lease_ttl,
            accept_timeout: self.accept_timeout,
            give_up: self.give_up,
            limits: self.limits,
            ..Redis::new(connection, "test", self.name)
        };
        Spend::start_over(options, store, redis, tracker)
            .await
            .unwrap()
    }
}

impl Router {
    /// Records these, and returns when all are acknowledged.
    pub async fn record(&self, numbers: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        let numbers: BTreeSet<u64> = numbers.into_iter().collect();
        let answers: Vec<_> = numbers
            .iter()
            .map(|&n| self.spend.record(record(n)))
            .collect();
        for answer in answers {
            answer.await.unwrap();
        }
        numbers
    }

    /// Waits until the database has everything, by the way everything goes.
    pub async fn settle(&self) {
        super::eventually("everything is in the database", async || {
            self.spend.stats().pending() == 0
        })
        .await;
    }

    pub fn leads(&self) -> bool {
        self.spend.stats().leads()
    }

    /// As `kill -9` would end it. What is on a socket or in a blocking call may still take effect.
    pub async fn crash(mut self) -> Plan {
        self.spend.crash().await;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.plan.clone()
    }

    /// In order.
    pub async fn stop(mut self) -> Plan {
        self.spend.shutdown(Instant::now() + SOON).await.unwrap();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.plan.clone()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
