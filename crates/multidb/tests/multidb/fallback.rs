//! The return to the heavier database: once, after its grace, and nobody notices.

use std::time::Duration;

use herdsman_multidb::{CircuitState, SwitchReason};

use crate::support::{Crowd, Fault, Stage, changes, moved, next_change};
use herdsman_test_support::eventually;

const USERS: usize = 64;
const GRACE: Duration = Duration::from_secs(1);

/// Fault, failover, end of the fault, fallback: all under load.
async fn returns(fault: Fault, failures_each: usize) {
    let stage = Stage::with(2, |config| {
        config.auto_fallback_interval(Some(Duration::from_millis(500)))
    })
    .await;
    let mut events = stage.db.events();
    let crowd = Crowd::counting(&stage.db, USERS);
    crowd.progress(5).await;
    fault.strike(&stage[0]).await;
    stage.until_active("b").await;
    let left = stage.db.active().borrow().since;
    fault.heal(&stage[0]).await;
    stage.until_active("a").await;
    let returned = stage.db.active().borrow().since;
    crowd.progress(20).await;
    let tally = crowd.stop().await;

    assert!(returned - left >= GRACE, "back after {:?}", returned - left);
    assert_eq!(
        changes(&mut events),
        [
            moved("a", "b", SwitchReason::Failover),
            moved("b", "a", SwitchReason::Fallback)
        ]
    );
    // Those of the fault: the return itself costs nobody anything.
    tally.at_most_each(failures_each);
    tally.only_in_flight();
    stage.settles(&tally).await;
    stage.finish().await;
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

/// Ten planned switches there and back under load: nobody sees an error, nothing counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_switches_hurt_nobody() {
    let stage = Stage::of(2).await;
    let mut events = stage.db.events();
    let crowd = Crowd::counting(&stage.db, USERS);
    for _ in 0..5 {
        for name in ["b", "a"] {
            crowd.progress(2).await;
            stage.db.set_active_database(stage.id(name)).await.unwrap();
            assert_eq!(stage.active(), name);
        }
    }
    crowd.progress(2).await;
    let tally = crowd.stop().await;
    tally.at_most_each(0);
    stage.settles(&tally).await;
    let changes = changes(&mut events);
    assert_eq!(changes.len(), 10);
    assert!(
        changes
            .iter()
            .all(|change| change.2 == SwitchReason::Manual)
    );
    stage.finish().await;
}

/// The database stays bad for many times its grace: it is tried, and never goes back to work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_heavier_database_stays_bad_nothing_flaps() {
    for fault in [Fault::Kill, Fault::Stop, Fault::ReadOnly, Fault::Silent] {
        let stage = Stage::with(2, |mut config| {
            for database in &mut config.databases {
                database.grace_period = Duration::from_millis(200);
            }
            config
                .auto_fallback_interval(Some(Duration::from_millis(100)))
                .health_check_timeout(Duration::from_secs(2))
                .health_check_interval(Duration::from_millis(50))
        })
        .await;
        let mut events = stage.db.events();
        let crowd = Crowd::counting(&stage.db, 8);
        crowd.progress(5).await;
        fault.strike(&stage[0]).await;
        assert_eq!(
            next_change(&mut events).await,
            moved("a", "b", SwitchReason::Failover),
            "{fault:?}"
        );
        let since = stage
            .db
            .status()
            .database(stage.id("a"))
            .unwrap()
            .circuit_since;
        // Every grace, and every check that has to wait for its timeout.
        eventually("five graces have passed", async || {
            since.elapsed() > Duration::from_secs(5)
        })
        .await;
        crowd.progress(5).await;
        assert_eq!(changes(&mut events), [], "{fault:?}");
        let tally = crowd.stop().await;
        tally.at_most_each(1);
        fault.heal(&stage[0]).await;
        stage.until_active("a").await;
        stage.settles(&tally).await;
        stage.finish().await;
    }
}

#[tokio::test]
async fn without_an_interval_it_never_returns_by_itself() {
    let stage = Stage::of(2).await;
    let mut events = stage.db.events();
    stage[0].server.kill();
    stage.until_active("b").await;
    stage[0].server.restart().await;
    let a = stage.id("a");
    eventually("it is well again", async || {
        stage.db.status().database(a).unwrap().circuit == CircuitState::Closed
    })
    .await;
    let rounds = || stage.db.metrics().databases[0].healthy_rounds;
    let before = rounds();
    eventually("some more rounds", async || rounds() > before + 3).await;
    assert_eq!(stage.active(), "b");
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Failover)]
    );
    // Switched on while running, it does.
    let soon = Some(Duration::from_millis(50));
    stage.db.set_auto_fallback_interval(soon).await.unwrap();
    stage.until_active("a").await;
    stage.finish().await;
}
