//! What happens to routers, Redis and databases in a storm, and how it is done.
//!
//! Which of it happens when follows from the seed. It does not know how the routers run: a
//! [`FaultTarget`] is anything that can be killed.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::COUNT;
use crate::support::{Database, Fixture, On, Plan, eventually};
use herdsman_test_support::Network;
use herdsman_test_support::redis::{Plan as RedisPlan, Server};

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    KillRouter,
    KillLeader,
    RestartRouter,
    KillActors,
    FailOver,
    FreezeRouter,
    PauseRedis,
    KillRedis,
    FlushRedis,
    ForgetLease,
    RedisNetwork(Network),
    CutAppend,
    CutRead,
    CutCommit,
    SqlNetwork(Network),
    PauseSql,
    KillSql,
}

/// What happens, each as often as it stands here.
pub const FAULTS: [Fault; 25] = [
    Fault::KillRouter,
    Fault::KillRouter,
    Fault::KillLeader,
    Fault::KillLeader,
    Fault::RestartRouter,
    Fault::KillActors,
    Fault::KillActors,
    Fault::FreezeRouter,
    Fault::PauseRedis,
    Fault::KillRedis,
    Fault::FlushRedis,
    Fault::ForgetLease,
    Fault::RedisNetwork(Network::Refusing),
    Fault::RedisNetwork(Network::BlackHole),
    Fault::RedisNetwork(Network::NoReplies),
    Fault::RedisNetwork(Network::Slow(Duration::from_millis(50))),
    Fault::CutAppend,
    Fault::CutAppend,
    Fault::CutRead,
    Fault::CutCommit,
    Fault::CutCommit,
    Fault::SqlNetwork(Network::Refusing),
    Fault::SqlNetwork(Network::NoReplies),
    Fault::PauseSql,
    Fault::KillSql,
];

/// Routers, by number, as far as a storm knows them.
pub trait FaultTarget {
    /// Which of them writes, as far as anybody can tell.
    async fn leader(&self, fixture: &Fixture) -> Option<usize>;

    /// `kill -9`, and after `pause` a restart on the same folder.
    async fn kill(&mut self, fixture: &Fixture, which: usize, pause: Duration);

    /// An orderly end, within so much time, and a restart.
    async fn restart(&mut self, fixture: &Fixture, which: usize, within: Duration);

    /// It is suspended for a while.
    async fn freeze(&mut self, which: usize, pause: Duration);

    /// Ends its actors as panics would.
    fn kill_actors(&mut self, _which: usize) {}

    /// An operator moves it, and none of the others, to the Redis that it does not use.
    async fn fail_over(&mut self, _which: usize) {}
}

/// Where it is, and what decides what happens.
pub struct Storm {
    pub fixture: Fixture,
    rng: Rng,
    /// The Redis that is used when the fixture's is not there.
    second: Server,
}

impl Storm {
    pub async fn start(on: On, seed: u64) -> Self {
        let redis = RedisPlan::new().start().await;
        Self {
            fixture: Fixture::over(redis, Database::own(on).await).await,
            rng: Rng::with_seed(seed),
            second: Server::start().await,
        }
    }

    pub fn plans(&self) -> Vec<Plan> {
        let plan = |n| {
            let mut plan = self.fixture.plan(&format!("r{n}"));
            plan.redis.push(self.second.url());
            Plan {
                accept_timeout: Duration::from_secs(2),
                // What lies in the Redis that nobody uses any more is not waited for for long.
                give_up: Duration::from_secs(15),
                flush_interval: Duration::from_millis(100),
                seal_interval: Duration::from_millis(50),
                ..plan
            }
        };
        (0..COUNT).map(plan).collect()
    }

    /// One fault after the other, for so many seconds.
    pub async fn run(&mut self, faults: &[Fault], seconds: u64, routers: &mut impl FaultTarget) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            let fault = faults[self.rng.usize(..faults.len())];
            println!("{:.1?}: {fault:?}", began.elapsed());
            self.inject(fault, routers).await;
            let pause = Duration::from_millis(self.rng.u64(0..400));
            sleep(pause).await;
        }
    }

    /// Ends all faults.
    pub async fn end(&self) {
        self.fixture.network.set(Network::Whole).await;
        self.fixture.network.cut_reply_of("nothing", 0);
        if self.fixture.database.server().is_some() {
            self.fixture.database.network().set(Network::Whole).await;
            self.fixture.database.network().cut_reply_of("nothing", 0);
        }
    }

    /// What was sent has been taken away again.
    pub async fn streams_are_empty(&self) {
        eventually("the streams are empty", async || {
            let second: i64 = self.second.ask("XLEN {test:spend}:batches").await.unwrap();
            // Which of the two is used now is decided by the clients; the other may keep what nobody
            // reads any more.
            self.fixture.depth().await == 0 || second == 0
        })
        .await;
    }

    async fn inject(&mut self, fault: Fault, routers: &mut impl FaultTarget) {
        let pause = Duration::from_millis(self.rng.u64(50..1_500));
        let which = self.rng.usize(..COUNT);
        let times = self.rng.usize(1..4);
        match fault {
            Fault::KillRouter => routers.kill(&self.fixture, which, pause / 3).await,
            Fault::KillLeader => {
                let leader = routers.leader(&self.fixture).await.unwrap_or(which);
                routers.kill(&self.fixture, leader, pause / 3).await;
            }
            Fault::RestartRouter => routers.restart(&self.fixture, which, pause).await,
            Fault::KillActors => routers.kill_actors(which),
            Fault::FailOver => routers.fail_over(which).await,
            // Longer than its lease lasts, or not.
            Fault::FreezeRouter => routers.freeze(which, pause * 2).await,
            Fault::PauseRedis => {
                self.fixture.redis.pause();
                sleep(pause).await;
                self.fixture.redis.resume();
            }
            Fault::KillRedis => {
                self.fixture.redis.kill();
                sleep(pause).await;
                self.fixture.redis.restart().await;
            }
            Fault::FlushRedis => {
                self.fixture.redis.run("FLUSHALL").await;
                self.second.run("FLUSHALL").await;
            }
            Fault::ForgetLease => {
                self.fixture
                    .redis
                    .run("DEL {test:spend}:lease {test:spend}:epoch")
                    .await;
            }
            Fault::RedisNetwork(network) => {
                self.fixture.network.set(network).await;
                sleep(pause).await;
                self.fixture.network.set(Network::Whole).await;
            }
            Fault::CutAppend => self.fixture.network.cut_reply_of("\"records\":", times),
            Fault::CutRead => self.fixture.network.cut_reply_of("XREADGROUP", times),
            Fault::CutCommit if self.fixture.database.server().is_some() => {
                self.fixture
                    .database
                    .network()
                    .cut_reply_of("COMMIT", times);
            }
            Fault::SqlNetwork(network) if self.fixture.database.server().is_some() => {
                self.fixture.database.network().set(network).await;
                sleep(pause).await;
                self.fixture.database.network().set(Network::Whole).await;
            }
            Fault::PauseSql => {
                if let Some(server) = self.fixture.database.server() {
                    server.pause();
                    sleep(pause).await;
                    server.resume();
                }
            }
            Fault::KillSql if self.fixture.database.server().is_some() => {
                self.fixture.database.server_mut().kill();
                sleep(pause).await;
                let server = self.fixture.database.server_mut();
                tokio::task::block_in_place(|| server.restart());
            }
            Fault::CutCommit | Fault::SqlNetwork(_) | Fault::KillSql => {}
        }
    }
}
