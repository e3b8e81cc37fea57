//! What a flush costs, on real servers with every commit synced: `cargo bench --profile dist --bench store`, with
//! a part of a line's name to run only that. Needs PostgreSQL and MariaDB on this machine.
//!
//! A flush here is what the leader of a large installation writes each second: 10,000 keys that all
//! spent something, each in one budget period, on one day, with one of four models. That is 10,000
//! rows in each of three tables. How many requests are in them makes no difference to the database,
//! and is given as records per second for 50 requests of each key.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "its result")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use herdsman::domain::{EntityKind, TokenCounts};
use herdsman::store::{
    BatchId, BatchRow, DailyRow, Error, Flush, SealedBatch, SpendRow, SpendSums, Store,
};
use herdsman_test_support::sql::{Flavor, Server, Setup};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

const KEYS: usize = 10_000;
const RECORDS_OF_A_KEY: usize = 50;
const MODELS: usize = 4;
const WRITERS: usize = 20;

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    println!(
        "{:40} {:>9} {:>11} {:>13} {:>11}",
        "", "flush", "rows/s", "records/s", "server CPU"
    );
    for (name, flavor) in [
        ("sqlite", None),
        ("postgres", Some(Flavor::Postgres)),
        ("mariadb", Some(Flavor::MariaDb)),
    ] {
        let database = TestDatabase::new(flavor).await;
        for (line, keys, flushes) in [
            ("new keys", KEYS, 1),
            ("the same keys", KEYS, 10),
            ("a tenth of them", KEYS / 10, 30),
        ] {
            let line = format!("{name}: {line}");
            if wants(&line) {
                one_after_another(&line, &database, keys, flushes).await;
            }
        }
        let line = format!("{name}: {WRITERS} routers at once");
        if flavor.is_some() && wants(&line) {
            at_once(&line, &database).await;
        }
    }
}

/// One leader.
async fn one_after_another(line: &str, database: &TestDatabase, keys: usize, flushes: u64) {
    let store = database.open().await;
    let producer = Uuid::now_v7();
    let batches: Vec<_> = (1..=flushes)
        .map(|seq| batch(producer, seq, keys))
        .collect();
    let (cpu, began) = (database.cpu(), Instant::now());
    for batch in &batches {
        apply(&store, batch).await.unwrap();
    }
    report(line, keys, flushes, began.elapsed(), database.cpu() - cpu);
}

/// Without a leader, each with all of the keys.
async fn at_once(line: &str, database: &TestDatabase) {
    const EACH: u64 = 3;
    let deadlocks = database.server.as_ref().map(Server::deadlocks);
    let tracker = TaskTracker::new();
    let (cpu, began) = (database.cpu(), Instant::now());
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let store = database.open().await;
        writers.push(tracker.spawn(async move {
            let producer = Uuid::now_v7();
            let mut refused = 0;
            for seq in 1..=EACH {
                let batch = batch(producer, seq, KEYS / 10);
                while let Err(error) = apply(&store, &batch).await {
                    assert!(
                        matches!(error, Error::Contended(_) | Error::Unavailable(_)),
                        "{error}"
                    );
                    refused += 1;
                }
            }
            refused
        }));
    }
    let mut refused = 0;
    for writer in writers {
        refused += writer.await.unwrap();
    }
    let flushes = WRITERS as u64 * EACH;
    report(
        line,
        KEYS / 10,
        flushes,
        began.elapsed(),
        database.cpu() - cpu,
    );
    let after = database.server.as_ref().map(Server::deadlocks);
    println!(
        "{:40} {refused} refused, deadlocks {deadlocks:?} -> {after:?}",
        ""
    );
}

async fn apply(store: &Store, batch: &Arc<SealedBatch>) -> Result<(), Error> {
    let flush = Flush {
        batches: std::slice::from_ref(batch),
        ..Flush::default()
    };
    store.apply(flush).await.map(drop)
}

fn report(line: &str, keys: usize, flushes: u64, took: Duration, cpu: Duration) {
    let seconds = took.as_secs_f64() / flushes as f64;
    println!(
        "{line:40} {:>6.0} ms {:>11.0} {:>13.0} {:>8.0} ms",
        seconds * 1e3,
        (3 * keys) as f64 / seconds,
        (RECORDS_OF_A_KEY * keys) as f64 / seconds,
        cpu.as_secs_f64() * 1e3 / flushes as f64,
    );
}

fn batch(producer: Uuid, seq: u64, keys: usize) -> Arc<SealedBatch> {
    let spent = SpendSums {
        nano_usd: 1_234_567,
        input: 50_000,
        output: 10_000,
        requests: RECORDS_OF_A_KEY as u64,
    };
    let names: Vec<Arc<str>> = (0..keys)
        .map(|at| format!("{at:08x}{:056x}", at.wrapping_mul(0x9e37_79b9)).into())
        .collect();
    let models: Vec<Arc<str>> = (0..MODELS)
        .map(|at| format!("model-{at}:8b").into())
        .collect();
    let model = |at: usize| Arc::clone(&models[at % MODELS]);
    let endpoint: Arc<str> = "gpu-1".into();
    Arc::new(SealedBatch {
        rows: models
            .iter()
            .map(|model| BatchRow {
                endpoint: Arc::clone(&endpoint),
                model: Arc::clone(model),
                minute: 60,
                tokens: TokenCounts {
                    input: 1,
                    output: 1,
                },
            })
            .collect(),
        spend: names
            .iter()
            .map(|name| SpendRow {
                kind: EntityKind::Key,
                entity: Arc::clone(name),
                period: 86_400,
                spent,
            })
            .collect(),
        daily: names
            .iter()
            .enumerate()
            .map(|(at, name)| DailyRow {
                kind: EntityKind::Key,
                entity: Arc::clone(name),
                at: 86_400,
                api_key: Arc::clone(name),
                model: model(at),
                endpoint: Arc::clone(&endpoint),
                spent,
                failed_requests: 0,
            })
            .collect(),
        records: (keys * RECORDS_OF_A_KEY) as u64,
        ..SealedBatch::empty(BatchId { producer, seq })
    })
}

/// A database, and its server and folder.
struct TestDatabase {
    server: Option<Server>,
    dir: tempfile::TempDir,
}

impl TestDatabase {
    async fn new(flavor: Option<Flavor>) -> Self {
        let setup = Setup {
            durable: true,
            ..Setup::default()
        };
        let server = flavor.map(|flavor| Server::start_with(flavor, setup));
        if let Some(server) = &server {
            server.create("bench");
        }
        let database = Self {
            server,
            dir: tempfile::tempdir().unwrap(),
        };
        database.open().await.migrate().await.unwrap();
        database
    }

    async fn open(&self) -> Store {
        let url = self.server.as_ref().map(|server| server.url("bench"));
        let dir: &Path = self.dir.path();
        Store::open(&url.unwrap_or_default(), dir).await.unwrap()
    }

    fn cpu(&self) -> Duration {
        self.server.as_ref().map(Server::cpu).unwrap_or_default()
    }
}
