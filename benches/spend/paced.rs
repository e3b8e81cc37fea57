//! One router at 1,000 records a second: what each costs, and how long its request waits.
//!
//! The same ticks without records are measured first and subtracted. What is left is the pipeline's,
//! writing, summing, sealing and its share of the flushes into SQLite, and what it takes to wake a
//! worker that sleeps until the answer: a router that serves meanwhile is mostly awake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use herdsman::spend::{Durability, Options, Spend};
use herdsman::store::Store;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::length;
use super::process::cpu_by_thread;
use super::records::Names;

const EVERY: Duration = Duration::from_millis(1);
const KEYS: u64 = 100;

pub async fn measure() {
    let tracker = TaskTracker::new();
    let count = u32::try_from(length(10).as_millis()).unwrap();
    let before = cpu_by_thread();
    tracker.spawn(wait(count)).await.unwrap();
    let idle = spent(&before);

    for durability in [Durability::Memory, Durability::Journal, Durability::Fsync] {
        let dir = tempfile::tempdir_in(".").unwrap();
        let store = Store::open("", dir.path()).await.unwrap();
        store.migrate().await.unwrap();
        let options = Options {
            data_dir: dir.path().to_owned(),
            durability,
            seal_interval: Duration::from_millis(200),
            flush_interval: Duration::from_secs(1),
            journal_bytes: 1 << 30,
        };
        let spend = Spend::start(options, store, tracker.clone()).await.unwrap();
        let before = cpu_by_thread();
        let began = Instant::now();
        let recorded = tracker.spawn(record(spend.clone(), count));
        let mut waits = recorded.await.unwrap();
        let (took, used) = (began.elapsed(), spent(&before));
        spend.flush_now(Duration::from_secs(60)).await.unwrap();
        waits.sort_unstable();
        let at = |share: f64| waits[(waits.len() as f64 * share) as usize];
        println!(
            "paced, {durability:?}: {:.0}/s; waits p50 {:?} p99 {:?} p99.9 {:?} longest {:?}",
            f64::from(count) / took.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999),
            waits[waits.len() - 1],
        );
        let (mut sum, mut each) = (0.0, Vec::new());
        for (name, time) in &used {
            let idle = idle.get(name).copied().unwrap_or_default();
            let part = (time.as_secs_f64() - idle.as_secs_f64()) * 1e6 / f64::from(count);
            sum += part;
            if part >= 0.1 {
                each.push(format!("{name} {part:.1}"));
            }
        }
        println!("  {sum:.1} us CPU a record: {}", each.join(", "));
        let deadline = Instant::now() + Duration::from_secs(10);
        spend.shutdown(deadline).await.unwrap();
    }
}

async fn wait(count: u32) {
    let mut ticks = ticks();
    for _ in 0..count {
        ticks.tick().await;
    }
}

/// Returns how long each waited.
async fn record(spend: Spend, count: u32) -> Vec<Duration> {
    let (names, mut ticks) = (Arc::new(Names::of(KEYS)), ticks());
    let mut waits = Vec::new();
    for n in 0..count {
        ticks.tick().await;
        let sent = Instant::now();
        spend.record(names.record(n.into())).await.unwrap();
        waits.push(sent.elapsed());
    }
    waits
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// By thread, since `before`.
fn spent(before: &BTreeMap<String, Duration>) -> BTreeMap<String, Duration> {
    let mut spent = cpu_by_thread();
    for (name, time) in &mut spent {
        *time -= before.get(name).copied().unwrap_or_default();
    }
    spent
}
