//! The end: nothing is left of it.

use herdsman_multidb::Error;
use redis::AsyncCommands;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::support::{Fixture, ProxiedServer, Workload, quick};
use herdsman_test_support::{Network, TEST_TIMEOUT, eventually};

use herdsman_multidb::MultiDb;

#[tokio::test]
async fn after_close_no_task_and_no_connection_is_left_and_commands_say_so() {
    let servers = ProxiedServer::start_many(2).await;
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let config = quick(servers.iter().map(ProxiedServer::config));
    let db = MultiDb::connect(config).await.unwrap();
    let mut pinned = db.pin_active().await.unwrap();
    let workload = Workload::counting(&db, 16);
    workload.progress(3).await;
    db.close().await;
    let tally = workload.stop().await;
    for failure in tally.failures() {
        let error = Error::of(&failure.error);
        assert!(
            matches!(error, Some(Error::Closed | Error::OutcomeUnknown { .. })),
            "{failure:?}"
        );
    }
    let result: Result<(), _> = pinned.set("key", 1).await;
    assert!(result.is_err());
    for proxied in &servers {
        eventually("no connection is left", async || {
            proxied.network.open() == 0
        })
        .await;
    }
    eventually("no task is left", async || alive() <= before).await;
    let accepted: usize = servers
        .iter()
        .map(|proxied| proxied.network.accepted())
        .sum();
    let error = db.clone().get::<_, ()>("key").await.unwrap_err();
    assert!(
        matches!(Error::of(&error), Some(Error::Closed)),
        "{error:?}"
    );
    // Twice is not an error, and nothing of it connects again.
    db.close().await;
    let again: usize = servers
        .iter()
        .map(|proxied| proxied.network.accepted())
        .sum();
    assert_eq!(accepted, again);
    for result in [
        db.set_active_database(db.status().databases[0].database.id)
            .await,
        db.set_auto_fallback_interval(None).await,
    ] {
        assert!(matches!(result, Err(Error::Closed)), "{result:?}");
    }
}

#[tokio::test]
async fn the_last_clone_closes_it_too() {
    let servers = ProxiedServer::start_many(2).await;
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let config = quick(servers.iter().map(ProxiedServer::config));
    let db = MultiDb::connect(config).await.unwrap();
    let mut clone = db.clone();
    drop(db);
    let _: () = clone.set("key", 1).await.unwrap();
    drop(clone);
    for proxied in &servers {
        eventually("no connection is left", async || {
            proxied.network.open() == 0
        })
        .await;
    }
    eventually("no task is left", async || alive() <= before).await;
}

#[tokio::test]
async fn a_black_hole_does_not_delay_close() {
    let fixture = Fixture::of(2).await;
    for proxied in &fixture.servers {
        proxied.network.set(Network::BlackHole).await;
    }
    timeout(TEST_TIMEOUT, fixture.db.close())
        .await
        .expect("an end");
    for proxied in &fixture.servers {
        proxied.network.set(Network::Whole).await;
    }
    fixture.finish().await;
}

/// A caller may go away at any moment, and no connection or task stays behind for it. (What it had
/// reserved on trial: `given_up`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_are_given_up_leave_nothing_behind() {
    let fixture = Fixture::of(2).await;
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..200 {
        let mut db = fixture.db.clone();
        let limit = std::time::Duration::from_micros(random.u64(0..2_000));
        let _ = timeout(limit, db.incr::<_, _, ()>("n", 1)).await;
        if round % 40 == 20 {
            fixture[0].network.reset();
        }
    }
    let mut db = fixture.db.clone();
    let _: () = db.set("key", 1).await.unwrap();
    fixture.finish().await;
}
