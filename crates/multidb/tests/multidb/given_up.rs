//! Callers with less patience than the client: they go away, and what they had begun leaves nothing
//! behind and hides nothing.

use std::time::Duration;

use herdsman_multidb::{CircuitState, SwitchReason};
use redis::AsyncCommands;
use tokio::time::timeout;

use crate::support::{Stage, changes, moved};
use herdsman_test_support::{Network, PATIENCE, eventually};

/// Every caller gives up long before a command could fail by itself, and no check comes by.
#[tokio::test]
async fn callers_that_never_wait_for_a_failure_leave_a_silent_database_all_the_same() {
    let stage = Stage::with(2, |config| {
        config
            .response_timeout(PATIENCE)
            .connect_timeout(PATIENCE)
            .health_check_interval(PATIENCE)
    })
    .await;
    let mut events = stage.db.events();
    stage[0].network.set(Network::Silent).await;
    let patience = Duration::from_millis(150);
    eventually("somebody is served", async || {
        let mut db = stage.db.clone();
        matches!(
            timeout(patience, db.set::<_, _, ()>("key", 1)).await,
            Ok(Ok(()))
        )
    })
    .await;
    assert_eq!(stage.active(), "b");
    let a = stage.db.status().database(stage.id("a")).unwrap().clone();
    assert_eq!(a.failures, 0, "going away is no failure of the database");
    assert_eq!(a.circuit, CircuitState::Open);
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Failover)]
    );
    stage[0].network.set(Network::Whole).await;
    stage.finish().await;
}

/// On trial, too, a command may be given up: its place is free again, and the trial is not held up.
#[tokio::test]
async fn a_command_that_is_given_up_on_trial_gives_its_place_back() {
    // Nothing but commands closes this circuit, one at a time, after three in a row.
    let stage = Stage::with(1, |config| {
        config
            .half_open_slots(1)
            .success_threshold(1_000)
            .response_timeout(PATIENCE)
    })
    .await;
    let a = stage.id("a");
    stage[0].server.kill();
    eventually("it is left", async || {
        stage.db.status().database(a).unwrap().circuit != CircuitState::Closed
    })
    .await;
    stage[0].server.restart().await;
    let mut db = stage.db.clone();
    eventually("it is on trial", async || {
        db.set::<_, _, ()>("key", 1).await.is_ok()
    })
    .await;
    assert_eq!(
        stage.db.status().database(a).unwrap().circuit,
        CircuitState::HalfOpen
    );
    for _ in 0..20 {
        stage[0].server.sleep(Duration::from_millis(20)).await;
        let given_up = timeout(Duration::from_millis(1), db.get::<_, i64>("key"));
        drop(given_up.await);
        let value: i64 = db.get("key").await.unwrap();
        assert_eq!(value, 1);
    }
    stage.finish().await;
}

/// As many as there are places at once, and the others one after the other, each as soon as a place is
/// free.
#[tokio::test]
async fn who_finds_every_place_on_trial_taken_is_served_when_one_is_free() {
    let stage = Stage::with(1, |config| {
        config
            .half_open_slots(1)
            .success_threshold(1_000_000)
            .response_timeout(PATIENCE)
    })
    .await;
    let a = stage.id("a");
    stage[0].server.kill();
    eventually("it is left", async || {
        stage.db.status().database(a).unwrap().circuit != CircuitState::Closed
    })
    .await;
    stage[0].server.restart().await;
    eventually("it is on trial", async || {
        stage.db.clone().set::<_, _, ()>("n", 0).await.is_ok()
    })
    .await;
    let users = (0..200).map(async |_| stage.db.clone().incr::<_, _, u64>("n", 1).await);
    let mut counts: Vec<u64> = futures_util::future::try_join_all(users).await.unwrap();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<_>>());
    assert_eq!(
        stage.db.status().database(a).unwrap().circuit,
        CircuitState::HalfOpen
    );
    stage.finish().await;
}
