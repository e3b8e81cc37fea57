//! Nobody is there: what callers are told, and how it ends.

use std::time::Duration;

use herdsman_multidb::{Error, Event, SwitchReason};
use redis::{AsyncCommands, RedisResult};

use crate::support::{Crowd, Fault, Stage, Stand, next_event};
use herdsman_test_support::eventually;
use herdsman_test_support::redis::Plan;

async fn ask(stage: &Stage) -> RedisResult<Option<String>> {
    stage.db.clone().get("key").await
}

#[tokio::test]
async fn first_it_is_temporary_then_there_is_no_valid_database_and_both_say_for_how_long() {
    let stage = Stage::with(2, |config| {
        config
            .failover_attempts(4)
            .failover_delay(Duration::from_millis(500))
    })
    .await;
    let limit = Duration::from_secs(2);
    stage[0].server.kill();
    stage[1].server.kill();
    let (mut temporary, mut last) = (0, Duration::ZERO);
    loop {
        let error = ask(&stage).await.unwrap_err();
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
            // A read in flight when the last one died: told as it is.
            Error::OutcomeUnknown { .. } => {}
            other => panic!("{other}"),
        }
    }
    assert!(temporary > 0, "it is temporary to begin with");
    // It stays so, and begins no new cycle as redis-py's does.
    for _ in 0..5 {
        let error = ask(&stage).await.unwrap_err();
        assert!(
            matches!(Error::of(&error), Some(Error::NoValidDatabase { .. })),
            "{error:?}"
        );
        assert!(Error::of(&error).unwrap().was_not_sent());
    }
    assert!(stage.db.metrics().unavailable >= 6);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_comes_back_it_is_used_before_its_grace_is_over() {
    let stage = Stage::with(2, |mut config| {
        for database in &mut config.databases {
            database.grace_period = Duration::from_secs(3600);
        }
        config
    })
    .await;
    let mut events = stage.db.events();
    let crowd = Crowd::counting(&stage.db, 8);
    crowd.progress(3).await;
    stage[0].server.kill();
    stage[1].server.kill();
    next_event(&mut events, |event| {
        matches!(event, Event::AllDatabasesUnavailable).then_some(())
    })
    .await;
    assert_eq!(stage.active(), "");
    stage[1].server.restart().await;
    let recovered = next_event(&mut events, |event| match event {
        Event::ActiveDatabaseChanged { old, new, reason } => Some((old, new, reason)),
        Event::AllDatabasesUnavailable => panic!("said once already"),
        _ => None,
    })
    .await;
    assert_eq!(recovered.0, None);
    assert_eq!(&*recovered.1.unwrap().name, "b");
    assert_eq!(recovered.2, SwitchReason::Recovered);
    crowd.progress(3).await;
    let tally = crowd.stop().await;
    assert!(
        tally
            .failures()
            .all(|failure| failure.is_unknown() || failure.is_unavailable())
    );
    // At most one in flight at each of the two deaths.
    for account in &tally.accounts {
        let unknown = account
            .failures
            .iter()
            .filter(|failure| failure.is_unknown());
        assert!(unknown.count() <= 2, "{account:?}");
    }
    stage[0].server.restart().await;
    stage.settles(&tally).await;
    stage.finish().await;
}

#[tokio::test]
async fn where_grace_is_absolute_nobody_is_tried_before_it_is_over() {
    let stage = Stage::with(1, |mut config| {
        config.databases[0].grace_period = Duration::from_secs(2);
        config.last_resort(false)
    })
    .await;
    let a = stage.id("a");
    stage[0].server.kill();
    eventually("it is left", async || stage.active().is_empty()).await;
    let left = stage.db.status().database(a).unwrap().circuit_since;
    stage[0].server.restart().await;
    stage.until_active("a").await;
    let returned = stage.db.active().borrow().since;
    assert!(
        returned - left >= Duration::from_secs(2),
        "{:?}",
        returned - left
    );
    stage.finish().await;
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
        let stage = Stage::with(1, |config| {
            config.response_timeout(Duration::from_millis(500))
        })
        .await;
        let crowd = Crowd::counting(&stage.db, 8);
        crowd.progress(5).await;
        let before = stage[0].network.accepted();
        fault.strike(&stage[0]).await;
        eventually("it is noticed", async || stage.active().is_empty()).await;
        fault.heal(&stage[0]).await;
        crowd.progress(5).await;
        assert!(
            stage[0].network.accepted() > before,
            "{fault:?}: a connection that was silent is not trusted again"
        );
        let tally = crowd.stop().await;
        assert!(
            tally
                .failures()
                .all(|failure| failure.is_unknown() || failure.is_unavailable())
        );
        stage.settles(&tally).await;
        stage.finish().await;
    }
}

/// Forty keys that take 50 ms each: two seconds of LOADING.
#[tokio::test]
async fn a_database_that_is_loading_its_data_is_left_and_used_again_when_it_has() {
    let slow = Plan::new()
        .set("rdbcompression", "no")
        .set("key-load-delay", "50000")
        .set("loading-process-events-interval-bytes", "1024");
    let stands = vec![Stand::of(slow.start().await).await, Stand::start().await];
    let stage = Stage::over(stands, |config| {
        config.auto_fallback_interval(Some(Duration::from_millis(100)))
    })
    .await;
    let mut db = stage.db.clone();
    for i in 0..40 {
        let value = "x".repeat(2048);
        let _: () = db.set(format!("key:{i}"), value).await.unwrap();
    }
    stage[0].server.run("SAVE").await;
    stage[0].server.kill();
    stage.until_active("b").await;
    stage[0].server.restart_loading().await;
    let answer: RedisResult<Option<String>> = stage[0].server.ask("GET key:1").await;
    assert_eq!(answer.unwrap_err().code(), Some("LOADING"));
    for _ in 0..20 {
        let _: u64 = db.incr("n", 1).await.unwrap();
    }
    assert_eq!(stage[1].server.number("n").await, 20);
    stage.until_active("a").await;
    let value: String = db.get("key:1").await.unwrap();
    assert_eq!(value.len(), 2048);
    stage.finish().await;
}
