//! Everything at once, by seed: clients that record usage of known cost, and routers, Redis and
//! databases that are killed, stopped, emptied and cut off meanwhile.
//!
//! `HERDSMAN_SEED=n` repeats a storm, `HERDSMAN_STORM_SECONDS=n` makes it longer, and with
//! `HERDSMAN_STORM_PROCESSES=1` the routers are processes, killed with `kill -9`. `make storm` does
//! that for minutes on each database.

mod faults;
mod routers;

use tokio::time::Instant;

use crate::support::On;
pub use faults::{FAULTS, Fault, FaultTarget, Storm};
use routers::Routers;

/// Routers in a storm.
pub const COUNT: usize = 3;
/// Their clients.
pub const CLIENTS: u64 = 64;

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

pub fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_str()?.parse().ok()
}

/// What decides about a storm, and how many seconds it lasts.
pub fn seed_and_seconds() -> (u64, u64) {
    let seed = number("HERDSMAN_SEED").unwrap_or_else(|| fastrand::u64(..));
    (seed, number("HERDSMAN_STORM_SECONDS").unwrap_or(15))
}

async fn storm(on: On) {
    let (seed, seconds) = seed_and_seconds();
    let processes = number("HERDSMAN_STORM_PROCESSES").is_some_and(|yes| yes > 0);
    println!("HERDSMAN_SEED={seed} ({on:?}, {seconds} s, processes: {processes})");
    let mut storm = Storm::start(on, seed).await;
    let plans = storm.plans();
    let mut routers = if processes {
        Routers::processes(&storm.fixture, &plans)
    } else {
        Routers::in_process(&storm.fixture, plans, seed).await
    };
    storm.run(&FAULTS, seconds, &mut routers).await;
    check(storm, routers).await;
}

/// After the faults: everything arrives, once.
async fn check(storm: Storm, mut routers: Routers) {
    storm.end().await;
    let began = Instant::now();
    let end = routers.settle().await;
    let tables = storm.fixture.tables().await;
    tables.must_hold(&end.acknowledged);
    let counted = tables.counted();
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
    for [recorded, committed, pending, dead] in end.sums {
        assert_eq!((committed, pending, dead), (recorded, 0, 0));
    }
    assert_eq!(storm.fixture.letters().await, []);
    storm.streams_are_empty().await;
}
