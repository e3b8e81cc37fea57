//! Databases come, go and change their weight while users work, and no command fails.

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

use crate::support::{Change, Fixture, ProxiedServer, Workload, changes, moved, next_event};
use herdsman_test_support::eventually;

const USERS: usize = 32;

/// A change of databases under load: no command fails, no count is lost or doubled.
async fn without_failures(
    fixture: Fixture,
    extra: Vec<ProxiedServer>,
    change: impl AsyncFnOnce(&Fixture, &[ProxiedServer]),
    expected: &[Change],
) {
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, USERS);
    workload.progress(5).await;
    change(&fixture, &extra).await;
    workload.progress(5).await;
    assert_eq!(changes(&mut events), expected);
    let tally = workload.stop().await;
    tally.at_most_each(0);
    let servers = fixture
        .servers
        .iter()
        .chain(&extra)
        .map(|proxied| &proxied.server);
    tally.check(&servers.collect::<Vec<_>>()).await;
    fixture.finish().await;
    for proxied in &extra {
        eventually("no connection is left", async || {
            proxied.network.open() == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heavier_database_that_is_added_takes_over() {
    let (fixture, extra) = (Fixture::of(1).await, ProxiedServer::start_many(1).await);
    let expected = [moved("a", "new", SwitchReason::Reconfigured)];
    let add = async |fixture: &Fixture, extra: &[ProxiedServer]| {
        let config = extra[0].config().name("new").weight(5.0);
        fixture.db.add_database(config).await.unwrap();
        fixture.until_active("new").await;
    };
    without_failures(fixture, extra, add, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lighter_database_that_is_added_waits_until_it_is_needed() {
    let (fixture, extra) = (Fixture::of(1).await, ProxiedServer::start_many(1).await);
    let add = async |fixture: &Fixture, extra: &[ProxiedServer]| {
        let config = extra[0].config().name("new").weight(0.1);
        fixture.db.add_database(config).await.unwrap();
    };
    without_failures(fixture, extra, add, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_active_database_is_left_before_it_is_removed_and_keeps_no_connection() {
    let fixture = Fixture::of(2).await;
    let expected = [moved("a", "b", SwitchReason::Reconfigured)];
    let remove = async |fixture: &Fixture, _: &[ProxiedServer]| {
        let a = fixture.id("a");
        fixture.db.remove_database(a).await.unwrap();
        assert_eq!(fixture.active(), "b");
        assert!(fixture.db.status().database(a).is_none());
        eventually("its connections are closed", async || {
            fixture[0].network.open() == 0
        })
        .await;
        assert!(matches!(
            fixture.db.remove_database(a).await,
            Err(Error::UnknownDatabase(id)) if id == a
        ));
    };
    without_failures(fixture, Vec::new(), remove, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_takes_effect_at_once() {
    let fixture = Fixture::of(2).await;
    // There is no switch to a database without a connection.
    eventually("there is a connection to both", async || {
        let status = fixture.db.status();
        status.databases.iter().all(|database| database.connected)
    })
    .await;
    let expected = [
        moved("a", "b", SwitchReason::Reconfigured),
        moved("b", "a", SwitchReason::Reconfigured),
    ];
    let change = async |fixture: &Fixture, _: &[ProxiedServer]| {
        let a = fixture.id("a");
        fixture.db.update_database_weight(a, 0.1).await.unwrap();
        assert_eq!(fixture.active(), "b");
        fixture.db.update_database_weight(a, 2.0).await.unwrap();
        assert_eq!(fixture.active(), "a");
    };
    without_failures(fixture, Vec::new(), change, &expected).await;
}

#[tokio::test]
async fn weights_that_are_no_numbers_and_databases_that_do_not_exist_are_refused() {
    let fixture = Fixture::of(1).await;
    let (a, none) = (fixture.id("a"), DatabaseId::from(99));
    for weight in [f64::NAN, f64::INFINITY, -1.0] {
        let result = fixture.db.update_database_weight(a, weight).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    }
    for result in [
        fixture.db.update_database_weight(none, 1.0).await,
        fixture.db.remove_database(none).await,
        fixture.db.set_active_database(none).await,
        fixture.db.force_active_database(none).await,
    ] {
        assert!(
            matches!(result, Err(Error::UnknownDatabase(id)) if id == none),
            "{result:?}"
        );
    }
    fixture.finish().await;
}

#[tokio::test]
async fn the_last_database_is_still_needed_and_a_number_is_never_used_twice() {
    let fixture = Fixture::of(2).await;
    let (a, b) = (fixture.id("a"), fixture.id("b"));
    fixture.db.remove_database(b).await.unwrap();
    let result = fixture.db.remove_database(a).await;
    assert!(matches!(result, Err(Error::StillNeeded(_))), "{result:?}");
    assert_eq!(fixture.active(), "a");
    let again = fixture.db.add_database(fixture[1].config()).await.unwrap();
    assert!(again > b, "{again} after {b}");
    let _: () = fixture.db.clone().set("key", 1).await.unwrap();
    fixture.finish().await;
}

#[tokio::test]
async fn an_unhealthy_database_is_added_on_trial_or_not_at_all() {
    let (fixture, extra) = (Fixture::of(1).await, ProxiedServer::start_many(1).await);
    extra[0].server.kill();
    let config = extra[0].config().name("new").weight(5.0);
    let strict = config.clone().skip_initial_health_check(false);
    let result = fixture.db.add_database(strict).await;
    assert!(matches!(result, Err(Error::Unhealthy { .. })), "{result:?}");
    assert_eq!(fixture.db.status().databases.len(), 1);

    let new = fixture.db.add_database(config).await.unwrap();
    let circuit = || fixture.db.status().database(new).unwrap().circuit;
    assert_eq!(
        (circuit(), fixture.active().as_str()),
        (CircuitState::Open, "a")
    );
    extra[0].server.restart().await;
    eventually("it is trusted after its grace", async || {
        circuit() == CircuitState::Closed
    })
    .await;
    fixture.finish().await;
}

#[tokio::test]
async fn an_unhealthy_database_is_not_chosen_and_can_be_forced() {
    let fixture = Fixture::of(2).await;
    let b = fixture.id("b");
    fixture.db.set_active_database(b).await.unwrap();
    assert_eq!(fixture.active(), "b");
    fixture
        .db
        .set_active_database(fixture.id("a"))
        .await
        .unwrap();
    fixture[1].server.become_replica().await;
    let result = fixture.db.set_active_database(b).await;
    assert!(matches!(result, Err(Error::Unhealthy { .. })), "{result:?}");
    assert_eq!(fixture.active(), "a");

    let mut events = fixture.db.events();
    fixture.db.force_active_database(b).await.unwrap();
    let forced = next_event(&mut events, |event| match event {
        Event::ActiveDatabaseChanged { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert_eq!(forced, SwitchReason::Forced);
    fixture.finish().await;
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
    let fixture = Fixture::of(2).await;
    let expected = [moved("a", "b", SwitchReason::Failover)];
    let add = async |fixture: &Fixture, _: &[ProxiedServer]| {
        let oracle = Arc::new(Oracle::default());
        fixture.db.add_health_check(oracle.clone()).await.unwrap();
        oracle.condemned.store(true, Ordering::SeqCst);
        fixture.until_active("b").await;
        let status = fixture.db.status();
        let health = status
            .database(fixture.id("a"))
            .unwrap()
            .last_health
            .clone();
        let reason = health.unwrap().unhealthy.unwrap();
        assert!(reason.contains("the oracle says so"), "{reason}");
    };
    without_failures(fixture, Vec::new(), add, &expected).await;
}

#[tokio::test]
async fn a_failback_check_does_not_evict_and_prevents_a_return_under_load() {
    let oracle = Arc::new(Oracle {
        condemned: AtomicBool::new(true),
        only_failback: true,
    });
    let fixture = Fixture::with(2, |config| {
        config.auto_fallback_interval(Some(Duration::from_millis(100)))
    })
    .await;
    fixture.db.add_health_check(oracle.clone()).await.unwrap();
    let a = fixture.id("a");
    let refused = || {
        let status = fixture.db.status();
        let health = status.database(a).unwrap().last_health.clone();
        health.is_some_and(|health| health.failback_refused.is_some())
    };
    eventually("the check has spoken", async || refused()).await;
    assert_eq!(
        fixture.active(),
        "a",
        "it does not drive off the active one"
    );
    fixture
        .db
        .set_active_database(fixture.id("b"))
        .await
        .unwrap();
    let rounds = || fixture.db.metrics().databases[0].healthy_rounds;
    let before = rounds();
    eventually("some rounds", async || rounds() > before + 5).await;
    assert_eq!(fixture.active(), "b", "it prevents the return");
    oracle.condemned.store(false, Ordering::SeqCst);
    fixture.until_active("a").await;
    fixture.finish().await;
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
    let fixture = Fixture::of(2).await;
    fixture
        .db
        .add_failure_detector(Arc::new(Touchy))
        .await
        .unwrap();
    fixture[0].network.cut_reply_of("GET", 1);
    let value: Option<u64> = fixture.db.clone().get("key").await.unwrap();
    assert_eq!(value, None);
    assert_eq!(
        fixture.active(),
        "b",
        "one lost reply, and the database is left"
    );
    fixture.finish().await;
}
