//! Everything at once, by seed: clients that record usage of known cost, and routers, Redis and
//! databases that are killed, stopped, emptied and cut off meanwhile.
//!
//! `HERDSMAN_SEED=n` repeats a storm, `HERDSMAN_STORM_SECONDS=n` makes it longer, and with
//! `HERDSMAN_STORM_PROCESSES=1` the routers are processes, killed with `kill -9`. `make storm` does
//! that for minutes on each database.

mod routers;

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::real_redis::{Network, Plan as RedisPlan, Server};
use crate::support::{Database, On, Plan, Stage, eventually};
use routers::{COUNT, Routers};

/// What can happen to them.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillRouter,
    KillLeader,
    RestartRouter,
    KillActors,
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

const FAULTS: [Fault; 25] = [
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

struct Storm {
    stage: Stage,
    rng: Rng,
    second: Server,
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_exact_after_a_storm() {
    storm(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_exact_after_a_storm() {
    storm(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_exact_after_a_storm() {
    storm(On::MariaDb).await;
}

fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_str()?.parse().ok()
}

async fn storm(on: On) {
    let seed = number("HERDSMAN_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = number("HERDSMAN_STORM_SECONDS").unwrap_or(15);
    let apart = number("HERDSMAN_STORM_PROCESSES").is_some_and(|yes| yes > 0);
    println!("HERDSMAN_SEED={seed} ({on:?}, {seconds} s, processes: {apart})");
    let mut storm = Storm::gather(on, seed).await;
    let plans = storm.plans();
    let mut routers = if apart {
        Routers::apart(&storm.stage, &plans)
    } else {
        Routers::here(&storm.stage, plans, seed).await
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let fault = FAULTS[storm.rng.usize(..FAULTS.len())];
        storm.strike(fault, &mut routers).await;
        let calm = Duration::from_millis(storm.rng.u64(0..400));
        sleep(calm).await;
    }
    storm.calm(routers).await;
}

impl Storm {
    async fn gather(on: On, seed: u64) -> Self {
        let redis = RedisPlan::new().start().await;
        Self {
            stage: Stage::over(redis, Database::own(on).await).await,
            rng: Rng::with_seed(seed),
            second: Server::start().await,
        }
    }

    fn plans(&self) -> Vec<Plan> {
        let plan = |n| {
            let mut plan = self.stage.plan(&format!("r{n}"));
            plan.redis.push(self.second.url());
            Plan {
                patience: Duration::from_secs(2),
                // What lies in the Redis that nobody uses any more is not waited for for long.
                give_up: Duration::from_secs(15),
                flush_interval: Duration::from_millis(100),
                seal_interval: Duration::from_millis(50),
                ..plan
            }
        };
        (0..COUNT).map(plan).collect()
    }

    async fn strike(&mut self, fault: Fault, routers: &mut Routers) {
        let pause = Duration::from_millis(self.rng.u64(50..1_500));
        let which = self.rng.usize(..COUNT);
        let times = self.rng.usize(1..4);
        match fault {
            Fault::KillRouter => routers.kill(&self.stage, which, pause / 3).await,
            Fault::KillLeader => {
                let leader = routers.leader(&self.stage).await.unwrap_or(which);
                routers.kill(&self.stage, leader, pause / 3).await;
            }
            Fault::RestartRouter => routers.restart(&self.stage, which, pause).await,
            Fault::KillActors => routers.kill_actors(which),
            // Longer than its lease lasts, or not.
            Fault::FreezeRouter => routers.freeze(which, pause * 2).await,
            Fault::PauseRedis => {
                self.stage.redis.pause();
                sleep(pause).await;
                self.stage.redis.resume();
            }
            Fault::KillRedis => {
                self.stage.redis.kill();
                sleep(pause).await;
                self.stage.redis.restart().await;
            }
            Fault::FlushRedis => {
                self.stage.redis.run("FLUSHALL").await;
                self.second.run("FLUSHALL").await;
            }
            Fault::ForgetLease => {
                self.stage
                    .redis
                    .run("DEL {test:spend}:lease {test:spend}:epoch")
                    .await;
            }
            Fault::RedisNetwork(network) => {
                self.stage.network.set(network).await;
                sleep(pause).await;
                self.stage.network.set(Network::Whole).await;
            }
            Fault::CutAppend => self.stage.network.cut_reply_of("\"records\":", times),
            Fault::CutRead => self.stage.network.cut_reply_of("XREADGROUP", times),
            Fault::CutCommit if self.stage.database.server().is_some() => {
                self.stage.database.network().cut_reply_of("COMMIT", times);
            }
            Fault::SqlNetwork(network) if self.stage.database.server().is_some() => {
                self.stage.database.network().set(network).await;
                sleep(pause).await;
                self.stage.database.network().set(Network::Whole).await;
            }
            Fault::PauseSql => {
                if let Some(server) = self.stage.database.server() {
                    server.pause();
                    sleep(pause).await;
                    server.resume();
                }
            }
            Fault::KillSql if self.stage.database.server().is_some() => {
                self.stage.database.server_mut().kill();
                sleep(pause).await;
                let server = self.stage.database.server_mut();
                tokio::task::block_in_place(|| server.resurrect());
            }
            Fault::CutCommit | Fault::SqlNetwork(_) | Fault::KillSql => {}
        }
    }

    /// It is over: everything arrives, once.
    async fn calm(self, mut routers: Routers) {
        self.stage.network.set(Network::Whole).await;
        self.stage.network.cut_reply_of("nothing", 0);
        if self.stage.database.server().is_some() {
            self.stage.database.network().set(Network::Whole).await;
            self.stage.database.network().cut_reply_of("nothing", 0);
        }
        let began = Instant::now();
        let end = routers.settle().await;
        let books = self.stage.books().await;
        books.must_hold(&end.acknowledged);
        let counted = books.counted();
        println!(
            "{} acknowledged, {} counted, settled in {:?}",
            end.acknowledged.len(),
            counted.len(),
            began.elapsed()
        );
        assert!(end.acknowledged.len() > 100, "there was a storm");
        assert!(
            counted.iter().all(|n| *n < end.tried),
            "nothing was invented"
        );
        for [recorded, committed, owed, dead] in end.sums {
            assert_eq!((committed, owed, dead), (recorded, 0, 0));
        }
        assert_eq!(self.stage.letters().await, []);
        eventually("the streams are empty", async || {
            let second: i64 = self.second.ask("XLEN {test:spend}:batches").await.unwrap();
            // Which of the two is used now is the clients' business; the other may keep what nobody
            // reads any more.
            self.stage.depth().await == 0 || second == 0
        })
        .await;
    }
}
