//! Closed loops: each client works for a while, has a record written, waits for that, and begins
//! again, as requests do whose clients ask again at once.
//!
//! The work is measured in CPU of its thread and taken off, so that what is left is the record's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use herdsman::spend::{Durability, Options, Spend};
use herdsman::store::Store;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::length;
use super::process::{cpu, cpu_of_this_thread};
use super::records::Names;

const CLIENTS: [u32; 3] = [1, 4, 16];
/// What a request costs beside its record.
const WORK: Duration = Duration::from_micros(60);
const KEYS: u64 = 100;

pub async fn measure() {
    let each = length(9) / 3;
    for clients in CLIENTS {
        for durability in [Durability::Memory, Durability::Journal, Durability::Fsync] {
            let dir = tempfile::tempdir_in(".").unwrap();
            let store = Store::open("", dir.path()).await.unwrap();
            store.migrate().await.unwrap();
            let tracker = TaskTracker::new();
            let options = Options {
                data_dir: dir.path().to_owned(),
                durability,
                seal_interval: Duration::from_millis(200),
                flush_interval: Duration::from_secs(1),
                journal_bytes: 1 << 30,
            };
            let spend = Spend::start(options, store, tracker.clone()).await.unwrap();
            let (began, used) = (Instant::now(), cpu());
            let names = Arc::new(Names::of(KEYS));
            let client = |number: u32| {
                let (spend, names) = (spend.clone(), Arc::clone(&names));
                tracker.spawn(ask(spend, names, number, began + each))
            };
            let waits = try_join_all((0..clients).map(client)).await.unwrap();
            let (took, used) = (began.elapsed(), cpu() - used);
            let mut waits: Vec<Duration> = waits.into_iter().flatten().collect();
            waits.sort_unstable();
            let count = waits.len() as f64;
            let at = |share: f64| waits[(count * share) as usize];
            println!(
                "closed, {clients:>2} clients, {durability:?}: {:.0}/s; waits p50 {:?} p90 {:?} p99 {:?}; \
                 {:.1} us CPU a record",
                count / took.as_secs_f64(),
                at(0.5),
                at(0.9),
                at(0.99),
                used.as_secs_f64() * 1e6 / count - WORK.as_secs_f64() * 1e6,
            );
            let deadline = Instant::now() + Duration::from_secs(10);
            spend.shutdown(deadline).await.unwrap();
        }
    }
}

/// Returns how long each record took.
async fn ask(spend: Spend, names: Arc<Names>, number: u32, end: Instant) -> Vec<Duration> {
    let mut waits = Vec::new();
    for n in 0.. {
        let begins = cpu_of_this_thread();
        while cpu_of_this_thread() - begins < WORK {
            std::hint::spin_loop();
        }
        let sent = Instant::now();
        if sent > end {
            break;
        }
        let record = names.record(u64::from(number) << 32 | n);
        spend.record(record).await.unwrap();
        waits.push(sent.elapsed());
        // With durability in memory nothing else lets another client go on.
        tokio::task::yield_now().await;
    }
    waits
}
