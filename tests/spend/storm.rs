//! Everything at once, by seed: clients that record usage of known cost, and routers, Redis and
//! databases that are killed, stopped, emptied and cut off meanwhile.
//!
//! `HERDSMAN_SEED=n` repeats a storm, `HERDSMAN_STORM_SECONDS=n` makes it longer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use fastrand::Rng;
use futures_util::future::join_all;
use herdsman::spend::Spend;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::real_redis::{Network, Plan as RedisPlan, Server};
use crate::support::{Database, On, Router, Stage, eventually, record};

const ROUTERS: usize = 3;
const CLIENTS: u64 = 64;

/// What can happen to them.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillRouter,
    KillLeader,
    RestartRouter,
    KillActors,
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

const FAULTS: [Fault; 24] = [
    Fault::KillRouter,
    Fault::KillRouter,
    Fault::KillLeader,
    Fault::KillLeader,
    Fault::RestartRouter,
    Fault::KillActors,
    Fault::KillActors,
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
    routers: Vec<Option<Router>>,
    /// The same, as clients find them.
    doors: Arc<Vec<ArcSwap<Spend>>>,
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
    println!("HERDSMAN_SEED={seed} ({on:?}, {seconds} s)");
    let mut storm = Storm::gather(on, seed).await;
    let running = Arc::new(AtomicBool::new(true));
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let work = client_work(
                Arc::clone(&storm.doors),
                Arc::clone(&next),
                Arc::clone(&running),
                Rng::with_seed(seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            );
            TaskTracker::new().spawn(work)
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let fault = FAULTS[storm.rng.usize(..FAULTS.len())];
        storm.strike(fault).await;
        let calm = Duration::from_millis(storm.rng.u64(0..400));
        sleep(calm).await;
    }
    running.store(false, Relaxed);
    let mut acknowledged = BTreeSet::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    storm.calm(&acknowledged, next.load(Relaxed)).await;
}

/// Records until it is over; returns what was acknowledged to it.
async fn client_work(
    doors: Arc<Vec<ArcSwap<Spend>>>,
    next: Arc<AtomicU64>,
    running: Arc<AtomicBool>,
    mut rng: Rng,
) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    while running.load(Relaxed) {
        let spend = Spend::clone(&doors[rng.usize(..doors.len())].load());
        let n = next.fetch_add(1, Relaxed);
        if spend.record(record(n)).await.is_ok() {
            acknowledged.push(n);
        }
        sleep(Duration::from_millis(rng.u64(5..60))).await;
    }
    acknowledged
}

impl Storm {
    async fn gather(on: On, seed: u64) -> Self {
        let redis = RedisPlan::new().start().await;
        let stage = Stage::over(redis, Database::own(on).await).await;
        let (mut routers, mut doors) = (Vec::new(), Vec::new());
        let second = Server::start().await;
        for n in 0..ROUTERS {
            let mut plan = stage.plan(&format!("r{n}"));
            plan.redis.push(second.url());
            plan.patience = Duration::from_secs(2);
            plan.flush_interval = Duration::from_millis(100);
            plan.seal_interval = Duration::from_millis(50);
            let router = stage.start(plan).await;
            doors.push(ArcSwap::from_pointee(router.spend.clone()));
            routers.push(Some(router));
        }
        Self {
            stage,
            rng: Rng::with_seed(seed),
            routers,
            doors: Arc::new(doors),
            second,
        }
    }

    async fn strike(&mut self, fault: Fault) {
        let pause = Duration::from_millis(self.rng.u64(50..1_500));
        let which = self.rng.usize(..ROUTERS);
        let times = self.rng.usize(1..4);
        match fault {
            Fault::KillRouter => self.kill(which, pause / 3).await,
            Fault::KillLeader => {
                let leads = |router: &Option<Router>| router.as_ref().is_some_and(Router::leads);
                let leader = self.routers.iter().position(leads).unwrap_or(which);
                self.kill(leader, pause / 3).await;
            }
            Fault::RestartRouter => {
                let router = self.routers[which].take().unwrap();
                // It may be in the middle of everything else, and then keeps what it has.
                let deadline = Instant::now() + pause;
                let _ = router.spend.shutdown(deadline).await;
                let plan = router.plan.clone();
                drop(router);
                self.begin(which, plan).await;
            }
            Fault::KillActors => {
                let spend = self.doors[which].load();
                spend.kill_redis_actors();
                spend.kill_flush_actor();
                spend.kill_forward_actor();
            }
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
                    .run("DEL test:spend:lease test:spend:epoch")
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

    async fn kill(&mut self, which: usize, pause: Duration) {
        let plan = self.routers[which].take().unwrap().crash().await;
        sleep(pause).await;
        self.begin(which, plan).await;
    }

    async fn begin(&mut self, which: usize, plan: crate::support::Plan) {
        let router = self.stage.start(plan).await;
        self.doors[which].store(Arc::new(router.spend.clone()));
        self.routers[which] = Some(router);
    }

    /// It is over: everything arrives, once.
    async fn calm(self, acknowledged: &BTreeSet<u64>, tried: u64) {
        self.stage.network.set(Network::Whole).await;
        self.stage.network.cut_reply_of("nothing", 0);
        if self.stage.database.server().is_some() {
            self.stage.database.network().set(Network::Whole).await;
            self.stage.database.network().cut_reply_of("nothing", 0);
        }
        let began = Instant::now();
        let routers: Vec<&Router> = self.routers.iter().flatten().collect();
        join_all(routers.iter().map(|router| router.settle())).await;
        println!(
            "{tried} tried, {} acknowledged, settled in {:?}",
            acknowledged.len(),
            began.elapsed()
        );
        let books = self.stage.books().await;
        books.must_hold(acknowledged);
        let counted = books.counted();
        assert!(counted.iter().all(|n| *n < tried), "nothing was invented");
        println!("{} counted", counted.len());
        for router in routers {
            let stats = router.spend.stats();
            assert_eq!((stats.recorded(), stats.owed()), (stats.committed(), 0));
        }
        assert_eq!(self.stage.letters().await, []);
        eventually("the streams are empty", async || {
            let second: i64 = self.second.ask("XLEN test:spend:batches").await.unwrap();
            // Which of the two is used now is the clients' business; the other may keep what nobody
            // reads any more.
            self.stage.depth().await == 0 || second == 0
        })
        .await;
    }
}
