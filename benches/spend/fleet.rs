//! Twenty routers' pipelines over one Redis and one durable database: 50,000 records a second of
//! 10,000 keys. Does the leader keep up, what does a flush cost, does memory stay flat?
//!
//! All in one process, with records at a fixed interval in each router; only the database and
//! Redis are processes of their own, as their CPU is asked of the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use herdsman::spend::{Durability, Options, Redis, Spend};
use herdsman::store::Store;
use herdsman_multidb::{DatabaseConfig, MultiDb, MultiDbConfig};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::TaskTracker;

use super::process::{cpu, resident};
use super::records::Names;
use super::{durable, length};
use herdsman_test_support::redis;
use herdsman_test_support::sql::Flavor;

const ROUTERS: u64 = 20;
const PER_SECOND: u64 = 50_000;
const KEYS: u64 = 10_000;
const EVERY: Duration = Duration::from_millis(20);

pub async fn measure(flavor: Flavor) {
    let server = tokio::task::spawn_blocking(move || durable(flavor));
    let server = Arc::new(server.await.unwrap());
    let redis = redis::Server::start().await;
    let dir = tempfile::tempdir_in(".").unwrap();
    let tracker = TaskTracker::new();
    let mut routers = Vec::new();
    for n in 0..ROUTERS {
        let data_dir = dir.path().join(format!("r{n}"));
        std::fs::create_dir_all(&data_dir).unwrap();
        let store = Store::open(&server.url("bench"), &data_dir).await.unwrap();
        store.migrate().await.unwrap();
        let options = Options {
            data_dir,
            durability: Durability::Journal,
            seal_interval: Duration::from_millis(200),
            flush_interval: Duration::from_secs(1),
            journal_bytes: 4 << 30,
        };
        let config = MultiDbConfig::new([DatabaseConfig::from_url(redis.url())]);
        let connection = MultiDb::connect(config).await.unwrap().idempotent();
        let over_redis = Redis::new(connection, "bench", format!("r{n}"));
        let started = Spend::start_over(options, store, over_redis, tracker.clone());
        routers.push(started.await.unwrap());
    }
    let names = Arc::new(Names::of(KEYS));
    // Before anything is measured every key has its rows, and every pool its connections.
    let warm = routers.iter().zip(0..).map(|(router, n)| {
        produce(
            router.clone(),
            Arc::clone(&names),
            n,
            Duration::from_secs(3),
        )
    });
    join_all(warm).await;
    settled(&routers).await;

    let length = length(20);
    let before = Before::now(&routers, &server);
    let (memory, began) = (resident(), Instant::now());
    let most_pending = Arc::new(AtomicU64::new(0));
    let watched = tracker.spawn(watch(routers.clone(), Arc::clone(&most_pending), length));
    let work = routers
        .iter()
        .zip(0..)
        .map(|(router, n)| tracker.spawn(produce(router.clone(), Arc::clone(&names), n, length)));
    let late = join_all(work).await.into_iter().map(Result::unwrap).max();
    let recorded = began.elapsed();
    let pending = sum(&routers, |stats| stats.pending_in_journal());
    settled(&routers).await;
    let (drained, after) = (began.elapsed(), Before::now(&routers, &server));
    watched.await.unwrap();

    let records = (after.recorded - before.recorded) as f64;
    let (ours, theirs) = (after.ours - before.ours, after.theirs - before.theirs);
    let (flushes, seconds) = (
        after.flushes - before.flushes,
        after.seconds - before.seconds,
    );
    println!(
        "{flavor:?}, {ROUTERS} routers, {KEYS} keys: {:.0} records/s for {recorded:.1?} (a producer late by {:?} at most)",
        records / recorded.as_secs_f64(),
        late.unwrap_or_default(),
    );
    println!(
        "  pending: {} at most, {pending} when the last was recorded, none {:?} later",
        most_pending.load(Relaxed),
        drained - recorded,
    );
    println!(
        "  CPU: {:.1} us a record here ({:.0} records/s per core), {:.1} us in the database",
        ours.as_secs_f64() * 1e6 / records,
        records / ours.as_secs_f64(),
        theirs.as_secs_f64() * 1e6 / records,
    );
    println!(
        "  {flushes:.0} transactions of {:.0} ms, {:.0} ms CPU of the database each, {:.0} records each; {} deadlocks",
        seconds * 1e3 / flushes,
        theirs.as_secs_f64() * 1e3 / flushes,
        records / flushes,
        server.deadlocks(),
    );
    println!(
        "  memory: {} MiB before, {} MiB after; diverted {}, sent again {}",
        memory >> 20,
        resident() >> 20,
        sum(&routers, |stats| stats.diverted()),
        sum(&routers, |stats| stats.resent()),
    );
    assert_eq!(
        sum(&routers, |s| s.recorded()),
        sum(&routers, |s| s.committed())
    );
    for router in &routers {
        let deadline = Instant::now() + Duration::from_secs(10);
        router.shutdown(deadline).await.unwrap();
    }
}

/// Records at a fixed interval; returns by how much it was late in the end.
async fn produce(spend: Spend, names: Arc<Names>, first: u64, length: Duration) -> Duration {
    let share = PER_SECOND / ROUTERS * u64::try_from(EVERY.as_millis()).unwrap() / 1_000;
    let began = Instant::now();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut n, mut rounds) = (first, 0);
    while EVERY * rounds < length {
        ticks.tick().await;
        let mut answers = Vec::new();
        for _ in 0..share {
            answers.push(spend.record(names.record(n)));
            n += ROUTERS;
        }
        for answer in answers {
            answer.await.unwrap();
        }
        rounds += 1;
    }
    began.elapsed().saturating_sub(length)
}

/// How much is pending, twice a second.
async fn watch(routers: Vec<Spend>, most: Arc<AtomicU64>, length: Duration) {
    let began = Instant::now();
    while began.elapsed() < length {
        sleep(Duration::from_millis(500)).await;
        let pending = sum(&routers, |stats| stats.pending_in_journal());
        most.fetch_max(pending, Relaxed);
        println!(
            "  {:>5.1?}: {pending} pending, {} MiB",
            began.elapsed(),
            resident() >> 20
        );
    }
}

async fn settled(routers: &[Spend]) {
    while sum(routers, |stats| stats.pending_in_journal()) > 0 {
        sleep(Duration::from_millis(20)).await;
    }
}

fn sum(routers: &[Spend], of: impl Fn(&herdsman::spend::SpendStats) -> u64) -> u64 {
    routers.iter().map(|router| of(router.stats())).sum()
}

struct Before {
    recorded: u64,
    ours: Duration,
    theirs: Duration,
    flushes: f64,
    seconds: f64,
}

impl Before {
    fn now(routers: &[Spend], server: &herdsman_test_support::sql::Server) -> Self {
        let metric = |name| routers.iter().map(|router| metric(router, name)).sum();
        Self {
            recorded: sum(routers, |stats| stats.recorded()),
            ours: cpu(),
            theirs: server.cpu(),
            flushes: metric("spend_flush_seconds_count"),
            seconds: metric("spend_flush_seconds_sum"),
        }
    }
}

fn metric(spend: &Spend, name: &str) -> f64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    spend.stats().register(&mut registry);
    encode(&mut text, &registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}
