//! One router at 1,000 records a second: what each costs, and how long its request waits.
//!
//! The same rhythm without records is measured first and taken off, so that the cost is the
//! pipeline's: writing, summing, sealing, and its share of the flushes into SQLite.

use std::time::Duration;

use herdsman::spend::{Durability, Options, Spend};
use herdsman::store::Store;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::length;
use super::process::cpu;
use super::records::Names;

const EVERY: Duration = Duration::from_millis(1);
const KEYS: u64 = 100;

pub async fn measure() {
    let length = length(10);
    let count = u32::try_from(length.as_millis()).unwrap();
    let (began, used) = (Instant::now(), cpu());
    let mut rhythm = rhythm();
    for _ in 0..count {
        rhythm.tick().await;
    }
    let (idle, _) = (cpu() - used, began.elapsed());

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
        let spend = Spend::start(options, store, TaskTracker::new());
        let spend = spend.await.unwrap();
        let names = Names::of(KEYS);
        let mut waits = Vec::new();
        let (began, used) = (Instant::now(), cpu());
        let mut rhythm = self::rhythm();
        for n in 0..count {
            rhythm.tick().await;
            let sent = Instant::now();
            spend.record(names.record(n.into())).await.unwrap();
            waits.push(sent.elapsed());
        }
        let (took, used) = (began.elapsed(), (cpu() - used).saturating_sub(idle));
        spend.flush_now(Duration::from_secs(60)).await.unwrap();
        waits.sort_unstable();
        let at = |share: f64| waits[(waits.len() as f64 * share) as usize];
        println!(
            "paced, {durability:?}: {:.0}/s, {:.1} us CPU each; waits p50 {:?} p99 {:?} p99.9 {:?} longest {:?}",
            f64::from(count) / took.as_secs_f64(),
            used.as_secs_f64() * 1e6 / f64::from(count),
            at(0.5),
            at(0.99),
            at(0.999),
            waits[waits.len() - 1],
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        spend.shutdown(deadline).await.unwrap();
    }
}

fn rhythm() -> tokio::time::Interval {
    let mut rhythm = interval(EVERY);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Burst);
    rhythm
}
