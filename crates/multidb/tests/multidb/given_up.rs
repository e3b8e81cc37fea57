//! Callers with shorter timeouts than the client: they go away, and what they had begun leaves nothing
//! behind and hides nothing.

use std::time::Duration;

use herdsman_multidb::{CircuitState, SwitchReason};
use redis::AsyncCommands;
use tokio::time::timeout;

use crate::support::{Fixture, changes, moved};
use herdsman_test_support::{Network, TEST_TIMEOUT, eventually};

/// Every caller gives up long before a command could fail by itself, and no check comes by.
#[tokio::test]
async fn callers_that_never_wait_for_a_failure_leave_a_silent_database_all_the_same() {
    let fixture = Fixture::with(2, |config| {
        config
            .response_timeout(TEST_TIMEOUT)
            .connect_timeout(TEST_TIMEOUT)
            .health_check_interval(TEST_TIMEOUT)
    })
    .await;
    let mut events = fixture.db.events();
    fixture[0].network.set(Network::Silent).await;
    let limit = Duration::from_millis(150);
    eventually("a command is served", async || {
        let mut db = fixture.db.clone();
        matches!(
            timeout(limit, db.set::<_, _, ()>("key", 1)).await,
            Ok(Ok(()))
        )
    })
    .await;
    assert_eq!(fixture.active(), "b");
    let a = fixture
        .db
        .status()
        .database(fixture.id("a"))
        .unwrap()
        .clone();
    assert_eq!(a.failures, 0, "going away is no failure of the database");
    assert_eq!(a.circuit, CircuitState::Open);
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Failover)]
    );
    fixture[0].network.set(Network::Whole).await;
    fixture.finish().await;
}

/// On trial, too, a command may be given up: its slot is free again, and the trial is not held up.
#[tokio::test]
async fn a_command_that_is_given_up_on_trial_gives_its_slot_back() {
    // Nothing but commands closes this circuit, one at a time, after three in a row.
    let fixture = Fixture::with(1, |config| {
        config
            .half_open_slots(1)
            .success_threshold(1_000)
            .response_timeout(TEST_TIMEOUT)
    })
    .await;
    let a = fixture.id("a");
    fixture[0].server.kill();
    eventually("it is left", async || {
        fixture.db.status().database(a).unwrap().circuit != CircuitState::Closed
    })
    .await;
    fixture[0].server.restart().await;
    let mut db = fixture.db.clone();
    eventually("it is on trial", async || {
        db.set::<_, _, ()>("key", 1).await.is_ok()
    })
    .await;
    assert_eq!(
        fixture.db.status().database(a).unwrap().circuit,
        CircuitState::HalfOpen
    );
    for _ in 0..20 {
        fixture[0].server.sleep(Duration::from_millis(20)).await;
        let given_up = timeout(Duration::from_millis(1), db.get::<_, i64>("key"));
        drop(given_up.await);
        let value: i64 = db.get("key").await.unwrap();
        assert_eq!(value, 1);
    }
    fixture.finish().await;
}

/// As many as there are slots at once, and the others one after the other, each as soon as a slot is
/// free.
#[tokio::test]
async fn a_command_that_finds_every_trial_slot_taken_is_served_when_one_is_free() {
    let fixture = Fixture::with(1, |config| {
        config
            .half_open_slots(1)
            .success_threshold(1_000_000)
            .response_timeout(TEST_TIMEOUT)
    })
    .await;
    let a = fixture.id("a");
    fixture[0].server.kill();
    eventually("it is left", async || {
        fixture.db.status().database(a).unwrap().circuit != CircuitState::Closed
    })
    .await;
    fixture[0].server.restart().await;
    eventually("it is on trial", async || {
        fixture.db.clone().set::<_, _, ()>("n", 0).await.is_ok()
    })
    .await;
    let users = (0..200).map(async |_| fixture.db.clone().incr::<_, _, u64>("n", 1).await);
    let mut counts: Vec<u64> = futures_util::future::try_join_all(users).await.unwrap();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<_>>());
    assert_eq!(
        fixture.db.status().database(a).unwrap().circuit,
        CircuitState::HalfOpen
    );
    fixture.finish().await;
}
