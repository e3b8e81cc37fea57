//! What counting costs: records per second and CPU per record along the way, by the process's own
//! clock.
//!
//! | `cargo bench --profile dist --bench spend -- …` | measures |
//! |---|---|
//! | (nothing) | bursts, as fast as they go, into SQLite |
//! | `postgres`, `mariadb` | the same into a server |
//! | `closed` | 1, 4 and 16 clients that ask again at once: how long each waits, CPU of each record |
//! | `paced` | 1,000 records a second: CPU of each, and how long its request waits |
//! | `fleet-postgres`, `fleet-mariadb` | twenty routers over Redis: 50,000 records a second of 10,000 keys |
//!
//! `HERDSMAN_BENCH_SECONDS=n` makes the last three longer or shorter.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]
#![expect(clippy::panic, reason = "a bench that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "its figures are its result")]

mod closed;
mod fleet;
mod paced;
mod process;
mod records;

use std::time::Duration;

use futures_util::future::try_join_all;
use herdsman::spend::{Durability, Options, Spend};
use herdsman::store::Store;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use herdsman_test_support::sql::{Flavor, Server, Setup};
use process::cpu;
use records::Names;

const RECORDS: u64 = 200_000;
/// Records on their way to the journal at once.
const AT_ONCE: usize = 256;

/// How long the benches go on that are as long as one likes.
fn length(unless: u64) -> Duration {
    let asked =
        std::env::var_os("HERDSMAN_BENCH_SECONDS").and_then(|asked| asked.to_str()?.parse().ok());
    Duration::from_secs(asked.unwrap_or(unless))
}

fn durable(flavor: Flavor) -> Server {
    let setup = Setup {
        durable: true,
        ..Setup::default()
    };
    let server = Server::start_with(flavor, setup);
    server.create("bench");
    server
}

async fn measure(what: &str, store: Store, keys: u64) {
    store.migrate().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().to_owned(),
        durability: Durability::Journal,
        seal_interval: Duration::from_millis(200),
        flush_interval: Duration::from_secs(1),
        journal_bytes: 4 << 30,
    };
    let spend = Spend::start(options, store, TaskTracker::new())
        .await
        .unwrap();
    let names = Names::of(keys);
    let (began, used) = (Instant::now(), cpu());
    let mut waits = Vec::new();
    for first in (0..RECORDS).step_by(AT_ONCE) {
        let sent = Instant::now();
        let some = first..(first + AT_ONCE as u64).min(RECORDS);
        try_join_all(some.map(|n| spend.record(names.record(n))))
            .await
            .unwrap();
        waits.push(sent.elapsed());
    }
    let (recorded, recording) = (began.elapsed(), cpu() - used);
    spend.flush_now(Duration::from_secs(300)).await.unwrap();
    let (flushed, flushing) = (began.elapsed(), cpu() - used);
    waits.sort_unstable();
    let per = |time: Duration| time.as_secs_f64() * 1e6 / RECORDS as f64;
    println!(
        "{what:<28} {keys:>7} keys  acknowledged {:>8.0}/s ({:.2} us CPU each, {AT_ONCE} together in {:?} p50)  \
         in the database {:>8.0}/s ({:.2} us CPU each)",
        RECORDS as f64 / recorded.as_secs_f64(),
        per(recording),
        waits[waits.len() / 2],
        RECORDS as f64 / flushed.as_secs_f64(),
        per(flushing),
    );
    spend
        .shutdown(Instant::now() + Duration::from_secs(10))
        .await
        .unwrap();
}

async fn bursts(server: Option<(&str, Flavor)>) {
    let Some((name, flavor)) = server else {
        for keys in [1, 100, 10_000, 100_000] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open("", dir.path()).await.unwrap();
            measure("SQLite", store, keys).await;
        }
        return;
    };
    for keys in [100, 10_000] {
        let server = durable(flavor);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&server.url("bench"), dir.path()).await.unwrap();
        measure(name, store, keys).await;
    }
}

fn main() {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap()
    };
    // Cargo adds an option of its own.
    let asked = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"));
    let mut asked: Vec<String> = asked.collect();
    if asked.is_empty() {
        asked.push("sqlite".to_owned());
    }
    for what in &asked {
        match &**what {
            "sqlite" => runtime(1).block_on(bursts(None)),
            "postgres" => runtime(1).block_on(bursts(Some((what, Flavor::Postgres)))),
            "mariadb" => runtime(1).block_on(bursts(Some((what, Flavor::MariaDb)))),
            "closed" => runtime(1).block_on(closed::measure()),
            "paced" => runtime(1).block_on(paced::measure()),
            "fleet-postgres" => runtime(2).block_on(fleet::measure(Flavor::Postgres)),
            "fleet-mariadb" => runtime(2).block_on(fleet::measure(Flavor::MariaDb)),
            other => panic!("nothing is called {other}"),
        }
    }
}
