//! Redis, a database, and the routers' folders.

use std::collections::BTreeSet;

use herdsman::store::{DeadLetter, Fence};
use redis::streams::StreamRangeReply;
use tempfile::TempDir;

use super::{Database, On, Plan, Router, Tables, eventually, retried};
use herdsman_test_support::Chaos;
use herdsman_test_support::redis::Server;

pub struct Fixture {
    pub redis: Server,
    /// Between the routers and Redis.
    pub network: Chaos,
    pub database: Database,
    dir: TempDir,
}

impl Fixture {
    pub async fn on(on: On) -> Self {
        Self::over(Server::start().await, Database::new(on).await).await
    }

    pub async fn over(redis: Server, database: Database) -> Self {
        Self {
            network: Chaos::in_front_of(redis.port()).await,
            redis,
            database,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn plan(&self, name: &str) -> Plan {
        Plan::new(name, self.dir.path(), vec![self.network.url()])
    }

    /// One that has its own network to Redis.
    pub async fn plan_with_own_network(&self, name: &str) -> (Plan, Chaos) {
        let network = Chaos::in_front_of(self.redis.port()).await;
        (
            Plan::new(name, self.dir.path(), vec![network.url()]),
            network,
        )
    }

    pub async fn router(&self, name: &str) -> Router {
        self.start(self.plan(name)).await
    }

    pub async fn start(&self, plan: Plan) -> Router {
        plan.start(self.database.store().await).await
    }

    /// One that leads.
    pub async fn leader(&self, name: &str) -> Router {
        let router = self.router(name).await;
        eventually("it leads", async || router.leads()).await;
        router
    }

    /// From now on somebody else has it, who reads nothing.
    pub async fn take_the_lease_from(&self, leader: &Router) {
        let taken = "SET {test:spend}:lease somebody PX 600000";
        self.redis.run(taken).await;
        eventually("it does not lead", async || !leader.leads()).await;
    }

    pub async fn tables(&self) -> Tables {
        Tables::of(&self.database.directly().await).await
    }

    /// Each of these is counted once, and nothing else is.
    pub async fn must_be(&self, numbers: &BTreeSet<u64>) {
        let tables = self.tables().await;
        tables.must_hold(numbers);
        assert_eq!(&tables.counted(), numbers, "and no others");
    }

    pub async fn letters(&self) -> Vec<DeadLetter> {
        let store = self.database.directly().await;
        retried(async || store.dead_letters(false, 1_000).await).await
    }

    /// Entries in the stream.
    pub async fn depth(&self) -> i64 {
        self.redis.ask("XLEN {test:spend}:batches").await.unwrap()
    }

    /// Who wrote last as a leader.
    pub async fn last_leader(&self) -> Fence {
        let store = self.database.directly().await;
        retried(async || store.last_leader().await).await
    }

    /// The same, unless the database does not say.
    pub async fn try_last_leader(&self) -> Option<Fence> {
        let store = self.database.directly().await;
        store.last_leader().await.ok()
    }

    /// Entries that are there although another one has the same batch.
    pub async fn duplicates(&self) -> usize {
        let there: StreamRangeReply = self
            .redis
            .ask("XRANGE {test:spend}:batches - +")
            .await
            .unwrap();
        let ids = there.ids.iter().map(|entry| entry.get::<String>("id"));
        let distinct: BTreeSet<_> = ids.collect();
        there.ids.len() - distinct.len()
    }

    /// Entries that somebody has read and not removed.
    pub async fn read_and_there(&self) -> i64 {
        let pending: redis::Value = self
            .redis
            .ask("XPENDING {test:spend}:batches flush")
            .await
            .unwrap_or(redis::Value::Nil);
        match pending {
            redis::Value::Array(parts) => match parts.first() {
                Some(redis::Value::Int(count)) => *count,
                _ => 0,
            },
            _ => 0,
        }
    }
}
