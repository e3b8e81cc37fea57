//! What counting costs: records per second and CPU per record along the way, by the process's own
//! clock.
//!
//! `cargo bench --bench spend [-- postgres|mariadb]`

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]
#![expect(clippy::panic, reason = "a bench that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "its figures are its result")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use herdsman::domain::{Charge, EntityKind, ModelName, Payer, TokenCounts, UsageRecord};
use herdsman::spend::{Durability, Options, Spend};
use herdsman::store::Store;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

#[expect(dead_code, reason = "shared; a bench kills nobody")]
#[path = "../tests/sql/server/mod.rs"]
mod real_sql;

use real_sql::{Flavor, Server, Setup};

const RECORDS: u64 = 200_000;
/// Records on their way to the journal at once.
const AT_ONCE: usize = 256;

/// CPU of all threads of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

struct Names {
    endpoint: Arc<str>,
    model: ModelName,
    keys: Vec<Arc<str>>,
    users: Vec<Arc<str>>,
    team: Arc<str>,
}

impl Names {
    fn of(keys: u64) -> Self {
        Self {
            endpoint: "gpu-1".into(),
            model: ModelName::parse("llama3.2").unwrap(),
            keys: (0..keys).map(|n| format!("{n:064x}").into()).collect(),
            users: (0..keys).map(|n| format!("user-{n}").into()).collect(),
            team: "team".into(),
        }
    }

    fn record(&self, n: u64) -> UsageRecord {
        let at = usize::try_from(n).unwrap() % self.keys.len();
        let payer = |kind, entity: &Arc<str>| Payer {
            kind,
            entity: Arc::clone(entity),
            period: 0,
        };
        UsageRecord {
            endpoint: Arc::clone(&self.endpoint),
            model: self.model.clone(),
            at: 1_795_305_480 + i64::try_from(n / 50_000).unwrap(),
            tokens: TokenCounts {
                input: 100,
                output: 200,
            },
            estimated: false,
            charge: Charge {
                nano_usd: 45_000,
                api_key: Arc::clone(&self.keys[at]),
                payers: [
                    payer(EntityKind::Key, &self.keys[at]),
                    payer(EntityKind::User, &self.users[at]),
                    payer(EntityKind::Team, &self.team),
                ]
                .into(),
            },
            failed: false,
        }
    }
}

async fn measure(what: &str, store: Store, keys: u64) {
    store.migrate().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().to_owned(),
        durability: Durability::Journal,
        seal_interval: Duration::from_millis(200),
        flush_interval: Duration::from_secs(1),
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

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| asked.iter().any(|asked| asked == name);
    runtime.block_on(async {
        for keys in [1, 100, 10_000, 100_000] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open("", dir.path()).await.unwrap();
            measure("SQLite", store, keys).await;
        }
        for (name, flavor) in [("postgres", Flavor::Postgres), ("mariadb", Flavor::MariaDb)] {
            if !wants(name) {
                continue;
            }
            let setup = Setup {
                durable: true,
                ..Setup::default()
            };
            for keys in [100, 10_000] {
                let server = Server::start_with(flavor, setup);
                server.create("bench");
                let dir = tempfile::tempdir().unwrap();
                let store = Store::open(&server.url("bench"), dir.path()).await.unwrap();
                measure(name, store, keys).await;
            }
        }
    });
}
