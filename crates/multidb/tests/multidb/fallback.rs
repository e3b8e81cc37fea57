//! The return to the heavier database: once, after its grace, and no command fails.

use std::time::Duration;

use herdsman_multidb::{CircuitState, SwitchReason};

use crate::support::{Fault, Fixture, Workload, changes, moved, next_change};
use herdsman_test_support::eventually;

const USERS: usize = 64;
const GRACE: Duration = Duration::from_secs(1);

/// Fault, failover, end of the fault, fallback: all under load.
async fn returns(fault: Fault, failures_each: usize) {
    let fixture = Fixture::with(2, |config| {
        config.auto_fallback_interval(Some(Duration::from_millis(500)))
    })
    .await;
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, USERS);
    workload.progress(5).await;
    fault.inject(&fixture[0]).await;
    fixture.until_active("b").await;
    let left = fixture.db.active().borrow().since;
    fault.clear(&fixture[0]).await;
    fixture.until_active("a").await;
    let returned = fixture.db.active().borrow().since;
    workload.progress(20).await;
    let tally = workload.stop().await;

    assert!(returned - left >= GRACE, "back after {:?}", returned - left);
    assert_eq!(
        changes(&mut events),
        [
            moved("a", "b", SwitchReason::Failover),
            moved("b", "a", SwitchReason::Fallback)
        ]
    );
    // Those of the fault: the return itself fails no command.
    tally.at_most_each(failures_each);
    tally.only_in_flight();
    fixture.check_counts(&tally).await;
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_it_returns_once_after_the_grace() {
    returns(Fault::Kill, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_stop_it_returns_once_after_the_grace() {
    returns(Fault::Stop, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_black_hole_it_returns_once_after_the_grace_over_a_new_connection() {
    returns(Fault::BlackHole, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_replica_became_master_again_it_returns_and_no_command_ever_failed() {
    returns(Fault::ReadOnly, 0).await;
}

/// Ten planned switches there and back under load: no user gets an error, nothing counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_switches_fail_no_command() {
    let fixture = Fixture::of(2).await;
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, USERS);
    for _ in 0..5 {
        for name in ["b", "a"] {
            workload.progress(2).await;
            fixture
                .db
                .set_active_database(fixture.id(name))
                .await
                .unwrap();
            assert_eq!(fixture.active(), name);
        }
    }
    workload.progress(2).await;
    let tally = workload.stop().await;
    tally.at_most_each(0);
    fixture.check_counts(&tally).await;
    let changes = changes(&mut events);
    assert_eq!(changes.len(), 10);
    assert!(
        changes
            .iter()
            .all(|change| change.2 == SwitchReason::Manual)
    );
    fixture.finish().await;
}

/// The database stays bad for many times its grace: it is tried, and never goes back to work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_heavier_database_stays_bad_nothing_flaps() {
    for fault in [Fault::Kill, Fault::Stop, Fault::ReadOnly, Fault::Silent] {
        let fixture = Fixture::with(2, |mut config| {
            for database in &mut config.databases {
                database.grace_period = Duration::from_millis(200);
            }
            config
                .auto_fallback_interval(Some(Duration::from_millis(100)))
                .health_check_timeout(Duration::from_secs(2))
                .health_check_interval(Duration::from_millis(50))
        })
        .await;
        let mut events = fixture.db.events();
        let workload = Workload::counting(&fixture.db, 8);
        workload.progress(5).await;
        fault.inject(&fixture[0]).await;
        assert_eq!(
            next_change(&mut events).await,
            moved("a", "b", SwitchReason::Failover),
            "{fault:?}"
        );
        let since = fixture
            .db
            .status()
            .database(fixture.id("a"))
            .unwrap()
            .circuit_since;
        // Every grace, and every check that has to wait for its timeout.
        eventually("five graces have passed", async || {
            since.elapsed() > Duration::from_secs(5)
        })
        .await;
        workload.progress(5).await;
        assert_eq!(changes(&mut events), [], "{fault:?}");
        let tally = workload.stop().await;
        tally.at_most_each(1);
        fault.clear(&fixture[0]).await;
        fixture.until_active("a").await;
        fixture.check_counts(&tally).await;
        fixture.finish().await;
    }
}

#[tokio::test]
async fn without_an_interval_it_never_returns_by_itself() {
    let fixture = Fixture::of(2).await;
    let mut events = fixture.db.events();
    fixture[0].server.kill();
    fixture.until_active("b").await;
    fixture[0].server.restart().await;
    let a = fixture.id("a");
    eventually("it is well again", async || {
        fixture.db.status().database(a).unwrap().circuit == CircuitState::Closed
    })
    .await;
    let rounds = || fixture.db.metrics().databases[0].healthy_rounds;
    let before = rounds();
    eventually("some more rounds", async || rounds() > before + 3).await;
    assert_eq!(fixture.active(), "b");
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Failover)]
    );
    // Switched on while running, it does.
    let soon = Some(Duration::from_millis(50));
    fixture.db.set_auto_fallback_interval(soon).await.unwrap();
    fixture.until_active("a").await;
    fixture.finish().await;
}
