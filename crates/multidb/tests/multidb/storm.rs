//! Everything at once, and then nothing may be lost, doubled or left over.

use std::time::Duration;

use herdsman_multidb::{Error, MultiDb};
use tokio::runtime::Handle;

use crate::support::{Fixture, ProxiedServer, quick, storm};
use herdsman_test_support::eventually;

const USERS: usize = 64;
const LENGTH: Duration = Duration::from_secs(20);

/// The seed of a failed storm repeats it, as far as the machine is the same:
/// `HERDSMAN_STORM_SEED=7`.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn seed() -> u64 {
    let given = std::env::var("HERDSMAN_STORM_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_of_all_faults_no_count_is_lost_or_doubled_and_nothing_is_left() {
    let seed = seed();
    println!("HERDSMAN_STORM_SEED={seed}");
    let servers = ProxiedServer::start_many(3).await;
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let config = quick(servers.iter().map(ProxiedServer::config))
        .response_timeout(Duration::from_millis(500))
        .connect_timeout(Duration::from_millis(500))
        .health_check_timeout(Duration::from_millis(500))
        .auto_fallback_interval(Some(Duration::from_millis(500)));
    let db = MultiDb::connect(config).await.unwrap();
    let fixture = Fixture { servers, db };

    let report = storm(&fixture, USERS, seed, LENGTH).await;

    println!("{:?}, {} admin calls", report.injected, report.admin_calls);
    for failure in report.tally.failures() {
        let error = Error::of(&failure.error);
        let known = failure.is_unknown() || failure.is_unavailable();
        // A refusal of the server itself, when there was no other database.
        let refused = error.is_none() && failure.error.code().is_some();
        assert!(known || refused, "{failure:?}");
    }
    eventually("every database is trusted again", async || {
        let status = fixture.db.status();
        status
            .databases
            .iter()
            .all(|database| database.circuit == herdsman_multidb::CircuitState::Closed)
    })
    .await;
    fixture.check_counts(&report.tally).await;
    fixture.finish().await;
    // The proxies' own tasks end with their connections.
    eventually("no task is left", async || alive() <= before).await;
}
