//! No database is available: which errors callers get, and how it ends.

use std::time::Duration;

use herdsman_multidb::{Error, Event, SwitchReason};
use redis::{AsyncCommands, RedisResult};

use crate::support::{Fault, Fixture, ProxiedServer, Workload, next_event};
use herdsman_test_support::eventually;
use herdsman_test_support::redis::Plan;

async fn ask(fixture: &Fixture) -> RedisResult<Option<String>> {
    fixture.db.clone().get("key").await
}

#[tokio::test]
async fn first_it_is_temporary_then_there_is_no_valid_database_and_both_say_for_how_long() {
    let fixture = Fixture::with(2, |config| {
        config
            .failover_attempts(4)
            .failover_delay(Duration::from_millis(500))
    })
    .await;
    let limit = Duration::from_secs(2);
    fixture[0].server.kill();
    fixture[1].server.kill();
    let (mut temporary, mut last) = (0, Duration::ZERO);
    loop {
        let error = ask(&fixture).await.unwrap_err();
        let found = Error::of(&error).unwrap_or_else(|| panic!("{error:?}"));
        match found {
            Error::TemporarilyUnavailable { down_for } => {
                assert!(*down_for < limit && *down_for >= last, "{down_for:?}");
                (temporary, last) = (temporary + 1, *down_for);
            }
            Error::NoValidDatabase { down_for } => {
                assert!(*down_for >= limit, "{down_for:?}");
                break;
            }
            // A read in flight when the last one failed: its outcome is unknown.
            Error::OutcomeUnknown { .. } => {}
            other => panic!("{other}"),
        }
    }
    assert!(temporary > 0, "it is temporary to begin with");
    // It stays so, and begins no new cycle as redis-py's does.
    for _ in 0..5 {
        let error = ask(&fixture).await.unwrap_err();
        assert!(
            matches!(Error::of(&error), Some(Error::NoValidDatabase { .. })),
            "{error:?}"
        );
        assert!(Error::of(&error).unwrap().was_not_sent());
    }
    assert!(fixture.db.metrics().unavailable >= 6);
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_comes_back_it_is_used_before_its_grace_is_over() {
    let fixture = Fixture::with(2, |mut config| {
        for database in &mut config.databases {
            database.grace_period = Duration::from_secs(3600);
        }
        config
    })
    .await;
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, 8);
    workload.progress(3).await;
    fixture[0].server.kill();
    fixture[1].server.kill();
    next_event(&mut events, |event| {
        matches!(event, Event::AllDatabasesUnavailable).then_some(())
    })
    .await;
    assert_eq!(fixture.active(), "");
    fixture[1].server.restart().await;
    let recovered = next_event(&mut events, |event| match event {
        Event::ActiveDatabaseChanged { old, new, reason } => Some((old, new, reason)),
        Event::AllDatabasesUnavailable => panic!("said once already"),
        _ => None,
    })
    .await;
    assert_eq!(recovered.0, None);
    assert_eq!(&*recovered.1.unwrap().name, "b");
    assert_eq!(recovered.2, SwitchReason::Recovered);
    workload.progress(3).await;
    let tally = workload.stop().await;
    assert!(
        tally
            .failures()
            .all(|failure| failure.is_unknown() || failure.is_unavailable())
    );
    // At most one in flight at each of the two deaths.
    for counts in &tally.users {
        let unknown = counts
            .failures
            .iter()
            .filter(|failure| failure.is_unknown());
        assert!(unknown.count() <= 2, "{counts:?}");
    }
    fixture[0].server.restart().await;
    fixture.check_counts(&tally).await;
    fixture.finish().await;
}

#[tokio::test]
async fn where_grace_is_absolute_nobody_is_tried_before_it_is_over() {
    let fixture = Fixture::with(1, |mut config| {
        config.databases[0].grace_period = Duration::from_secs(2);
        config.last_resort(false)
    })
    .await;
    let a = fixture.id("a");
    fixture[0].server.kill();
    eventually("it is left", async || fixture.active().is_empty()).await;
    let left = fixture.db.status().database(a).unwrap().circuit_since;
    fixture[0].server.restart().await;
    fixture.until_active("a").await;
    let returned = fixture.db.active().borrow().since;
    assert!(
        returned - left >= Duration::from_secs(2),
        "{:?}",
        returned - left
    );
    fixture.finish().await;
}

/// One database and a black hole: it is no reason to wedge, and every connection is a new one
/// afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_database_is_used_again_after_a_black_hole() {
    for fault in [
        Fault::BlackHole,
        Fault::NoReplies,
        Fault::Silent,
        Fault::Stop,
    ] {
        let fixture = Fixture::with(1, |config| {
            config.response_timeout(Duration::from_millis(500))
        })
        .await;
        let workload = Workload::counting(&fixture.db, 8);
        workload.progress(5).await;
        let before = fixture[0].network.accepted();
        fault.inject(&fixture[0]).await;
        eventually("it is noticed", async || fixture.active().is_empty()).await;
        fault.clear(&fixture[0]).await;
        workload.progress(5).await;
        assert!(
            fixture[0].network.accepted() > before,
            "{fault:?}: a connection that was silent is not trusted again"
        );
        let tally = workload.stop().await;
        assert!(
            tally
                .failures()
                .all(|failure| failure.is_unknown() || failure.is_unavailable())
        );
        fixture.check_counts(&tally).await;
        fixture.finish().await;
    }
}

/// Forty keys that take 50 ms each: two seconds of LOADING.
#[tokio::test]
async fn a_database_that_is_loading_its_data_is_left_and_used_again_when_it_has() {
    let slow = Plan::new()
        .set("rdbcompression", "no")
        .set("key-load-delay", "50000")
        .set("loading-process-events-interval-bytes", "1024");
    let servers = vec![
        ProxiedServer::of(slow.start().await).await,
        ProxiedServer::start().await,
    ];
    let fixture = Fixture::over(servers, |config| {
        config.auto_fallback_interval(Some(Duration::from_millis(100)))
    })
    .await;
    let mut db = fixture.db.clone();
    for i in 0..40 {
        let value = "x".repeat(2048);
        let _: () = db.set(format!("key:{i}"), value).await.unwrap();
    }
    fixture[0].server.run("SAVE").await;
    fixture[0].server.kill();
    fixture.until_active("b").await;
    fixture[0].server.restart_loading().await;
    let answer: RedisResult<Option<String>> = fixture[0].server.ask("GET key:1").await;
    assert_eq!(answer.unwrap_err().code(), Some("LOADING"));
    for _ in 0..20 {
        let _: u64 = db.incr("n", 1).await.unwrap();
    }
    assert_eq!(fixture[1].server.number("n").await, 20);
    fixture.until_active("a").await;
    let value: String = db.get("key:1").await.unwrap();
    assert_eq!(value.len(), 2048);
    fixture.finish().await;
}
