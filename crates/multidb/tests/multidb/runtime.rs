//! Databases come, go and change their weight while users work: nobody notices.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use herdsman_multidb::{
    CircuitState, DatabaseId, Error, Event, FailureDetector, FailureKind, HealthCheck,
    HealthTarget, SwitchReason, Unhealthy,
};
use redis::AsyncCommands;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

use crate::support::{Change, Crowd, Stage, Stand, changes, moved, next_event};
use herdsman_test_support::eventually;

const USERS: usize = 32;

/// A change of databases under load: no command fails, no count is lost or doubled.
async fn unnoticed(
    stage: Stage,
    extra: Vec<Stand>,
    change: impl AsyncFnOnce(&Stage, &[Stand]),
    expected: &[Change],
) {
    let mut events = stage.db.events();
    let crowd = Crowd::counting(&stage.db, USERS);
    crowd.progress(5).await;
    change(&stage, &extra).await;
    crowd.progress(5).await;
    assert_eq!(changes(&mut events), expected);
    let tally = crowd.stop().await;
    tally.at_most_each(0);
    let servers = stage.stands.iter().chain(&extra).map(|stand| &stand.server);
    tally.check(&servers.collect::<Vec<_>>()).await;
    stage.finish().await;
    for stand in &extra {
        eventually("no connection is left", async || stand.network.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heavier_database_that_is_added_takes_over() {
    let (stage, extra) = (Stage::of(1).await, Stand::row(1).await);
    let expected = [moved("a", "new", SwitchReason::Reconfigured)];
    let add = async |stage: &Stage, extra: &[Stand]| {
        let config = extra[0].config().name("new").weight(5.0);
        stage.db.add_database(config).await.unwrap();
        stage.until_active("new").await;
    };
    unnoticed(stage, extra, add, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lighter_database_that_is_added_waits_until_it_is_needed() {
    let (stage, extra) = (Stage::of(1).await, Stand::row(1).await);
    let add = async |stage: &Stage, extra: &[Stand]| {
        let config = extra[0].config().name("new").weight(0.1);
        stage.db.add_database(config).await.unwrap();
    };
    unnoticed(stage, extra, add, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_active_database_is_left_before_it_is_removed_and_keeps_no_connection() {
    let stage = Stage::of(2).await;
    let expected = [moved("a", "b", SwitchReason::Reconfigured)];
    let remove = async |stage: &Stage, _: &[Stand]| {
        let a = stage.id("a");
        stage.db.remove_database(a).await.unwrap();
        assert_eq!(stage.active(), "b");
        assert!(stage.db.status().database(a).is_none());
        eventually("its connections are closed", async || {
            stage[0].network.open() == 0
        })
        .await;
        assert!(matches!(
            stage.db.remove_database(a).await,
            Err(Error::UnknownDatabase(id)) if id == a
        ));
    };
    unnoticed(stage, Vec::new(), remove, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_takes_effect_at_once() {
    let stage = Stage::of(2).await;
    // Nobody changes to a database that there is no connection to.
    eventually("there is a connection to both", async || {
        let status = stage.db.status();
        status.databases.iter().all(|database| database.connected)
    })
    .await;
    let expected = [
        moved("a", "b", SwitchReason::Reconfigured),
        moved("b", "a", SwitchReason::Reconfigured),
    ];
    let change = async |stage: &Stage, _: &[Stand]| {
        let a = stage.id("a");
        stage.db.update_database_weight(a, 0.1).await.unwrap();
        assert_eq!(stage.active(), "b");
        stage.db.update_database_weight(a, 2.0).await.unwrap();
        assert_eq!(stage.active(), "a");
    };
    unnoticed(stage, Vec::new(), change, &expected).await;
}

#[tokio::test]
async fn weights_that_are_no_numbers_and_databases_that_do_not_exist_are_refused() {
    let stage = Stage::of(1).await;
    let (a, none) = (stage.id("a"), DatabaseId::from(99));
    for weight in [f64::NAN, f64::INFINITY, -1.0] {
        let result = stage.db.update_database_weight(a, weight).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    }
    for result in [
        stage.db.update_database_weight(none, 1.0).await,
        stage.db.remove_database(none).await,
        stage.db.set_active_database(none).await,
        stage.db.force_active_database(none).await,
    ] {
        assert!(
            matches!(result, Err(Error::UnknownDatabase(id)) if id == none),
            "{result:?}"
        );
    }
    stage.finish().await;
}

#[tokio::test]
async fn the_last_database_is_still_needed_and_a_number_is_never_used_twice() {
    let stage = Stage::of(2).await;
    let (a, b) = (stage.id("a"), stage.id("b"));
    stage.db.remove_database(b).await.unwrap();
    let result = stage.db.remove_database(a).await;
    assert!(matches!(result, Err(Error::StillNeeded(_))), "{result:?}");
    assert_eq!(stage.active(), "a");
    let again = stage.db.add_database(stage[1].config()).await.unwrap();
    assert!(again > b, "{again} after {b}");
    let _: () = stage.db.clone().set("key", 1).await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn an_unhealthy_database_is_added_on_trial_or_not_at_all() {
    let (stage, extra) = (Stage::of(1).await, Stand::row(1).await);
    extra[0].server.kill();
    let config = extra[0].config().name("new").weight(5.0);
    let strict = config.clone().skip_initial_health_check(false);
    let result = stage.db.add_database(strict).await;
    assert!(matches!(result, Err(Error::Unhealthy { .. })), "{result:?}");
    assert_eq!(stage.db.status().databases.len(), 1);

    let new = stage.db.add_database(config).await.unwrap();
    let circuit = || stage.db.status().database(new).unwrap().circuit;
    assert_eq!(
        (circuit(), stage.active().as_str()),
        (CircuitState::Open, "a")
    );
    extra[0].server.restart().await;
    eventually("it is trusted after its grace", async || {
        circuit() == CircuitState::Closed
    })
    .await;
    stage.finish().await;
}

#[tokio::test]
async fn an_unhealthy_database_is_not_chosen_and_can_be_forced() {
    let stage = Stage::of(2).await;
    let b = stage.id("b");
    stage.db.set_active_database(b).await.unwrap();
    assert_eq!(stage.active(), "b");
    stage.db.set_active_database(stage.id("a")).await.unwrap();
    stage[1].server.become_replica().await;
    let result = stage.db.set_active_database(b).await;
    assert!(matches!(result, Err(Error::Unhealthy { .. })), "{result:?}");
    assert_eq!(stage.active(), "a");

    let mut events = stage.db.events();
    stage.db.force_active_database(b).await.unwrap();
    let forced = next_event(&mut events, |event| match event {
        Event::ActiveDatabaseChanged { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert_eq!(forced, SwitchReason::Forced);
    stage.finish().await;
}

/// Says what the test says.
#[derive(Debug, Default)]
struct Oracle {
    condemned: AtomicBool,
    only_failback: bool,
}

impl HealthCheck for Oracle {
    fn name(&self) -> &str {
        "oracle"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        let condemned = self.condemned.load(Ordering::SeqCst) && &*target.database().name == "a";
        std::future::ready(if condemned {
            Err(Unhealthy("the oracle says so".to_owned()))
        } else {
            Ok(())
        })
        .boxed()
    }

    fn failback_only(&self) -> bool {
        self.only_failback
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_that_is_added_counts_from_then_on() {
    let stage = Stage::of(2).await;
    let expected = [moved("a", "b", SwitchReason::Failover)];
    let add = async |stage: &Stage, _: &[Stand]| {
        let oracle = Arc::new(Oracle::default());
        stage.db.add_health_check(oracle.clone()).await.unwrap();
        oracle.condemned.store(true, Ordering::SeqCst);
        stage.until_active("b").await;
        let status = stage.db.status();
        let health = status.database(stage.id("a")).unwrap().last_health.clone();
        let reason = health.unwrap().unhealthy.unwrap();
        assert!(reason.contains("the oracle says so"), "{reason}");
    };
    unnoticed(stage, Vec::new(), add, &expected).await;
}

#[tokio::test]
async fn a_check_for_the_way_back_drives_nobody_off_and_lets_nobody_back() {
    let oracle = Arc::new(Oracle {
        condemned: AtomicBool::new(true),
        only_failback: true,
    });
    let stage = Stage::with(2, |config| {
        config.auto_fallback_interval(Some(Duration::from_millis(100)))
    })
    .await;
    stage.db.add_health_check(oracle.clone()).await.unwrap();
    let a = stage.id("a");
    let refused = || {
        let status = stage.db.status();
        let health = status.database(a).unwrap().last_health.clone();
        health.is_some_and(|health| health.failback_refused.is_some())
    };
    eventually("the check has spoken", async || refused()).await;
    assert_eq!(stage.active(), "a", "it does not drive off the active one");
    stage.db.set_active_database(stage.id("b")).await.unwrap();
    let rounds = || stage.db.metrics().databases[0].healthy_rounds;
    let before = rounds();
    eventually("some rounds", async || rounds() > before + 5).await;
    assert_eq!(stage.active(), "b", "it stands in the way back");
    oracle.condemned.store(false, Ordering::SeqCst);
    stage.until_active("a").await;
    stage.finish().await;
}

/// One failure is enough.
#[derive(Debug)]
struct Touchy;

impl FailureDetector for Touchy {
    fn fresh(&self) -> Box<dyn FailureDetector> {
        Box::new(Self)
    }

    fn succeeded(&mut self, _: u64, _: Instant) {}

    fn failed(&mut self, _: FailureKind, _: Instant) -> bool {
        true
    }

    fn reset(&mut self) {}
}

#[tokio::test]
async fn a_failure_detector_that_is_added_counts_from_then_on() {
    let stage = Stage::of(2).await;
    stage
        .db
        .add_failure_detector(Arc::new(Touchy))
        .await
        .unwrap();
    stage[0].network.cut_reply_of("GET", 1);
    let value: Option<u64> = stage.db.clone().get("key").await.unwrap();
    assert_eq!(value, None);
    assert_eq!(
        stage.active(),
        "b",
        "one lost reply, and the database is left"
    );
    stage.finish().await;
}
