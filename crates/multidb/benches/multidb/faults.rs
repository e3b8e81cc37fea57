//! From a fault to the next success: 64 users, ordinary settings.
//!
//! A user counts on a key of its own. The other database counts from 1 again, so an answer that is
//! not greater than the last one comes from there: that is when this user is served again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use herdsman_multidb::{DatabaseConfig, Event, MultiDb, MultiDbConfig};
use redis::aio::ConnectionLike;
use redis::cmd;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::figures::{Figures, runtime, verdict};
use crate::support::{Fault, ProxiedServer, changes};

const USERS: usize = 64;

/// The fault, what redis-py 8.1 took (reference, measured with 32 users, default settings), and what
/// is to be reached here.
const ROWS: [(Fault, &str, f64); 8] = [
    (Fault::Kill, "0.8–5.3 s", 0.1),
    (Fault::Refuse, "(not measured)", 0.1),
    (Fault::ReadOnly, "never", 0.2),
    (Fault::Stop, "10.0 s", 0.6),
    (Fault::BlackHole, "(as SIGSTOP)", 0.6),
    (Fault::Silent, "(as SIGSTOP)", 0.6),
    (Fault::NoReplies, "(as SIGSTOP)", 0.6),
    (Fault::Sleep, "10.0 s", 0.6),
];

/// What several runs brought.
#[derive(Default)]
struct Row {
    first: Figures,
    all: Figures,
    failed: Figures,
    /// Most failures of one user.
    worst: usize,
    /// Counted in the databases, and never acknowledged.
    extra: Figures,
    /// Users whose counts cannot be explained: one acknowledged is lost, or there are more than were
    /// asked for.
    unexplained: usize,
    switches: Figures,
}

pub(crate) fn measure(runs: u32, idle_runs: u32) {
    println!(
        "\n## Resumption, {USERS} users, default settings (response timeout 0.5 s), {runs} runs: median (least–most)\n"
    );
    println!(
        "Aims: every user is served again in time (the median of the runs); no user sees more than one"
    );
    println!(
        "command fail, the one in flight, and none when the database became read-only; no count is lost"
    );
    println!("or applied twice.\n");
    println!(
        "| fault on the active one | first user served again, s | all users, s | aim, s | redis-py, first, s | commands that failed | most of one user | aim | applied, not acknowledged | lost or twice | aim | switches | all reached |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (fault, redis_py, aim) in ROWS {
        let mut row = Row::default();
        for _ in 0..runs {
            run(fault, &mut row);
        }
        let most = usize::from(fault != Fault::ReadOnly);
        println!(
            "| {fault:?} | {} | {} | {aim} | {redis_py} | {} | {} | {most} | {} | {} | 0 | {} | {} |",
            row.first.show(3),
            row.all.show(3),
            row.failed.show(0),
            row.worst,
            row.extra.show(0),
            row.unexplained,
            row.switches.show(0),
            verdict(row.all.median() <= aim && row.worst <= most && row.unexplained == 0),
        );
    }
    println!("\n## Idle client: from the fault to the switch, {idle_runs} runs\n");
    println!("| fault on the active one | s | redis-py |\n|---|---|---|");
    for fault in [Fault::Kill, Fault::Refuse, Fault::ReadOnly, Fault::Stop] {
        let mut figures = Figures::default();
        for _ in 0..idle_runs {
            figures.add(idle(fault).as_secs_f64());
        }
        println!("| {fault:?} | {} | never |", figures.show(3));
    }
}

/// Two databases behind proxies with a thread of their own, and a client.
struct Setting {
    _proxies: Runtime,
    clients: Runtime,
    servers: Vec<ProxiedServer>,
    db: MultiDb,
}

impl Setting {
    fn new() -> Self {
        let (proxies, clients) = (runtime(1), runtime(1));
        let servers = proxies.block_on(ProxiedServer::start_many(2));
        let db = clients.block_on(MultiDb::connect(MultiDbConfig::new([
            DatabaseConfig::from_url(servers[0].network.url())
                .name("a")
                .weight(2.0),
            DatabaseConfig::from_url(servers[1].network.url()).name("b"),
        ])));
        Self {
            _proxies: proxies,
            clients,
            servers,
            db: db.expect("a client"),
        }
    }
}

/// What one user saw.
#[derive(Default)]
struct Seen {
    acknowledged: u64,
    failed: u64,
    served_again: Option<Instant>,
}

fn run(fault: Fault, row: &mut Row) {
    let setting = Setting::new();
    let Setting {
        clients,
        servers,
        db,
        ..
    } = &setting;
    clients.block_on(async {
        let mut events = db.events();
        let (stop, tasks) = (Arc::new(AtomicBool::new(false)), TaskTracker::new());
        let users: Vec<_> = (0..USERS)
            .map(|i| tasks.spawn(user(db.clone(), i, stop.clone())))
            .collect();
        sleep(Duration::from_millis(500)).await;
        let injected = Instant::now();
        fault.inject(&servers[0]).await;
        while db
            .status()
            .active()
            .is_none_or(|active| &*active.database.name == "a")
        {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(1_000)).await;
        stop.store(true, Ordering::Relaxed);
        let seen: Vec<Seen> = join_all(users)
            .await
            .into_iter()
            .map(Result::unwrap_or_default)
            .collect();
        fault.clear(&servers[0]).await;
        let served = || {
            seen.iter()
                .filter_map(|seen| Some((seen.served_again? - injected).as_secs_f64()))
        };
        row.first.add(served().fold(f64::INFINITY, f64::min));
        let all_served = served().count() == USERS;
        row.all.add(if all_served {
            served().fold(0.0, f64::max)
        } else {
            f64::INFINITY
        });
        row.failed
            .add(seen.iter().map(|seen| seen.failed as f64).sum());
        let worst = seen.iter().map(|seen| seen.failed).max().unwrap_or(0);
        row.worst = row.worst.max(usize::try_from(worst).unwrap_or(usize::MAX));
        let mut extra = 0.0;
        for (i, seen) in seen.iter().enumerate() {
            let mut found = 0;
            for proxied in servers {
                found += proxied.server.number(&format!("user:{i}")).await;
            }
            let beyond = found - seen.acknowledged.cast_signed();
            if !(0..=seen.failed.cast_signed()).contains(&beyond) {
                row.unexplained += 1;
            }
            extra += beyond as f64;
        }
        row.extra.add(extra);
        row.switches.add(changes(&mut events).len() as f64);
        db.close().await;
    });
}

async fn user<C: ConnectionLike>(mut connection: C, i: usize, stop: Arc<AtomicBool>) -> Seen {
    let key = format!("user:{i}");
    let (mut seen, mut last) = (Seen::default(), 0);
    while !stop.load(Ordering::Relaxed) {
        let answer = cmd("INCR")
            .arg(&key)
            .query_async::<u64>(&mut connection)
            .await;
        match answer {
            Ok(count) => {
                seen.acknowledged += 1;
                if count <= last {
                    seen.served_again.get_or_insert_with(Instant::now);
                }
                last = count;
            }
            Err(_) => seen.failed += 1,
        }
    }
    seen
}

fn idle(fault: Fault) -> Duration {
    let setting = Setting::new();
    let Setting {
        clients,
        servers,
        db,
        ..
    } = &setting;
    clients.block_on(async {
        let mut events = db.events();
        // Anywhere between two health checks.
        sleep(Duration::from_millis(fastrand::u64(200..5_200))).await;
        let injected = Instant::now();
        fault.inject(&servers[0]).await;
        while !matches!(events.recv().await, Ok(Event::ActiveDatabaseChanged { .. })) {}
        let took = injected.elapsed();
        fault.clear(&servers[0]).await;
        db.close().await;
        took
    })
}
