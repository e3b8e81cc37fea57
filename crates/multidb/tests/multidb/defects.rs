//! What is published or measured to go wrong in redis-py's client (8.1.0), tried here.
//!
//! | | in redis-py | tried in |
//! |---|---|---|
//! | 1 | `grace_period` is ignored for a constant minute | [`every_database_has_the_grace_it_was_given`] |
//! | 2 | a circuit opened by failures is closed by the next PING | [`a_healthy_ping_does_not_end_a_grace`] |
//! | 3 | the window of the detector ends with a success only | [`failures_far_apart_never_add_up`] |
//! | 4 | late failures are charged to the database that is active then | [`a_late_failure_is_charged_to_the_database_it_came_from`] |
//! | 5 | a detector that is added fails when it trips | `runtime::a_failure_detector_that_is_added_counts_from_then_on` |
//! | 6 | a removed active database is used on; removing the last one raises; a weight has no effect | `runtime::the_active_database_is_left_…`, `the_last_database_is_still_needed_…`, `a_weight_takes_effect_at_once` |
//! | 7 | databases added later, or unhealthy at the start, have no timers | [`a_database_that_was_down_at_the_start_is_used_when_it_is_up`], [`a_database_that_is_added_while_down_is_used_when_it_is_up`] |
//! | 8 | leaving a pipeline closes the client; closing it leaves the checks running | [`a_pipeline_that_is_dropped_closes_nothing`], [`after_close_no_health_check_runs`] |
//! | 9 | `transaction` takes option names for keys to watch | `surface::a_watched_transaction_begins_again_when_somebody_wrote_meanwhile`: the driver's own, unchanged |
//! | 10 | listeners are called in any order | [`events_come_in_the_order_of_the_decisions`] |
//! | 11 | databases checked at once exchange their URLs | beside the lag-aware check, in `src/multidb/health/lag_aware` |
//! | 12 | a removed database's connections are kept | `runtime::the_active_database_is_left_before_it_is_removed_and_keeps_no_connection`, [`a_removed_database_is_asked_nothing_any_more`] |
//! | 13 | an unreachable cluster is no reason to leave it | `kinds::from_cluster_to_cluster_…` |

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use herdsman_multidb::{
    CircuitState, DatabaseId, Error, Event, InitialHealthCheckPolicy, MultiDb, SwitchReason,
};
use redis::{AsyncCommands, RedisResult, pipe};

use crate::support::{Fixture, ProxiedServer, Workload, changes, moved, quick};
use herdsman_test_support::{Network, TEST_TIMEOUT, eventually};

fn circuit(fixture: &Fixture, id: DatabaseId) -> CircuitState {
    fixture.db.status().database(id).unwrap().circuit
}

async fn closes(fixture: &Fixture, id: DatabaseId) {
    eventually("the circuit closes", async || {
        circuit(fixture, id) == CircuitState::Closed
    })
    .await;
}

/// One grace outlasts this test, the other is a fraction of the constant minute.
#[tokio::test]
async fn every_database_has_the_grace_it_was_given() {
    let graces = [TEST_TIMEOUT * 10, Duration::from_millis(500)];
    let fixture = Fixture::with(3, |mut config| {
        for (database, grace) in config.databases.iter_mut().zip(graces) {
            database.grace_period = grace;
        }
        config
    })
    .await;
    fixture[0].server.kill();
    fixture[1].server.kill();
    fixture.until_active("c").await;
    let ids = ["a", "b"].map(|name| fixture.id(name));
    for id in ids {
        eventually("it is left", async || {
            circuit(&fixture, id) == CircuitState::Open
        })
        .await;
    }
    let since = |id| fixture.db.status().database(id).unwrap().circuit_since;
    let opened = ids.map(since);
    fixture[0].server.restart().await;
    fixture[1].server.restart().await;
    closes(&fixture, ids[1]).await;
    let rest = since(ids[1]) - opened[1];
    assert!(rest >= graces[1], "{rest:?} instead of {:?}", graces[1]);
    let rounds = || fixture.db.metrics().databases[0].healthy_rounds;
    let before = rounds();
    eventually("the other one is well", async || rounds() > before + 3).await;
    assert_eq!(circuit(&fixture, ids[0]), CircuitState::Open);
    assert_eq!(since(ids[0]), opened[0], "and is left in peace");
    fixture.finish().await;
}

#[tokio::test]
async fn a_healthy_ping_does_not_end_a_grace() {
    let grace = Duration::from_secs(2);
    let fixture = Fixture::with(2, |mut config| {
        config.databases[0].grace_period = grace;
        // One failure in the window is enough, and a lost reply is no unhealthy database.
        config
            .min_num_failures(1)
            .failure_rate_threshold(0.0)
            .health_check_interval(Duration::from_millis(50))
            .auto_fallback_interval(Some(Duration::from_millis(50)))
    })
    .await;
    let a = fixture.id("a");
    fixture[0].network.cut_reply_of("INCRBY", 1);
    let result: RedisResult<u64> = fixture.db.clone().incr("n", 1).await;
    assert!(result.is_err());
    fixture.until_active("b").await;
    let opened = fixture.db.status().database(a).unwrap().circuit_since;
    let rounds = || fixture.db.metrics().databases[0].healthy_rounds;
    let before = rounds();
    eventually("it is found healthy again and again", async || {
        rounds() > before + 5
    })
    .await;
    fixture.until_active("a").await;
    let back = fixture.db.active().borrow().since;
    assert!(back - opened >= grace, "{:?}", back - opened);
    fixture.finish().await;
}

#[tokio::test]
async fn failures_far_apart_never_add_up() {
    let window = Duration::from_millis(100);
    let fixture = Fixture::with(2, |config| {
        config
            .min_num_failures(2)
            .failure_rate_threshold(0.0)
            .failures_detection_window(window)
            .consecutive_failures(0)
    })
    .await;
    let mut db = fixture.db.clone();
    // No success in between: what is counted is time.
    for _ in 0..8 {
        fixture[0].network.cut_reply_of("INCRBY", 1);
        let result: RedisResult<u64> = db.incr("n", 1).await;
        assert!(result.is_err());
        tokio::time::sleep(window * 2).await;
    }
    assert_eq!(fixture.active(), "a");
    assert_eq!(fixture.db.status().active().unwrap().failures, 8);
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_failure_is_charged_to_the_database_it_came_from() {
    // All must have been sent before the first gives up.
    let fixture = Fixture::with(2, |config| config.response_timeout(TEST_TIMEOUT / 3)).await;
    let mut events = fixture.db.events();
    fixture[0].network.set(Network::NoReplies).await;
    let workload = Workload::counting(&fixture.db, 64);
    // All are in flight on `a` when the others are sent to `b`.
    eventually("all commands arrive", async || {
        fixture[0].server.ask::<u64>("DBSIZE").await.unwrap() == 64
    })
    .await;
    fixture
        .db
        .force_active_database(fixture.id("b"))
        .await
        .unwrap();
    workload.progress(5).await;
    let tally = workload.stop().await;
    assert_eq!(tally.failures().count(), 64);
    for failure in tally.failures() {
        let error = Error::of(&failure.error);
        assert!(
            matches!(error, Some(Error::OutcomeUnknown { database, .. }) if &*database.name == "a"),
            "{error:?}"
        );
    }
    let status = fixture.db.status();
    let b = status.database(fixture.id("b")).unwrap();
    assert_eq!((b.failures, b.circuit), (0, CircuitState::Closed));
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Forced)]
    );
    fixture[0].network.set(Network::Whole).await;
    fixture.check_counts(&tally).await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_database_that_was_down_at_the_start_is_used_when_it_is_up() {
    let servers = ProxiedServer::start_many(2).await;
    servers[0].server.kill();
    let fixture = Fixture::over(servers, |config| {
        config
            .initial_health_check_policy(InitialHealthCheckPolicy::OneAvailable)
            .auto_fallback_interval(Some(Duration::from_millis(50)))
    })
    .await;
    assert_eq!(fixture.active(), "b");
    assert_eq!(circuit(&fixture, fixture.id("a")), CircuitState::Open);
    fixture[0].server.restart().await;
    fixture.until_active("a").await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_database_that_is_added_while_down_is_used_when_it_is_up() {
    let (fixture, extra) = (
        Fixture::with(1, |config| {
            config.auto_fallback_interval(Some(Duration::from_millis(50)))
        })
        .await,
        ProxiedServer::start_many(1).await,
    );
    extra[0].server.kill();
    let config = extra[0].config().name("new").weight(5.0);
    fixture.db.add_database(config).await.unwrap();
    assert_eq!(fixture.active(), "a");
    extra[0].server.restart().await;
    fixture.until_active("new").await;
    // And is left again: it has everything the others have.
    extra[0].server.kill();
    fixture.until_active("a").await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_pipeline_that_is_dropped_closes_nothing() {
    let fixture = Fixture::of(1).await;
    let mut db = fixture.db.clone();
    {
        drop(pipe());
        let mut other = db.clone();
        let mut pipeline = pipe();
        pipeline.atomic().set("key", 1);
        let mut begun = pipeline.query_async::<()>(&mut other).boxed();
        // It is in flight, and not answered.
        fixture[0].server.pause();
        assert!(poll_immediate(&mut begun).await.is_none());
        drop(begun);
        fixture[0].server.resume();
    }
    let _: () = db.set("key", 2).await.unwrap();
    fixture.finish().await;
}

/// Counts what the server itself was asked.
async fn pings(proxied: &ProxiedServer) -> u64 {
    let calls = proxied
        .server
        .info("cmdstat_ping")
        .await
        .unwrap_or_default();
    let calls = calls
        .split(',')
        .next()
        .and_then(|calls| calls.strip_prefix("calls="));
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn after_close_no_health_check_runs() {
    let servers = ProxiedServer::start_many(2).await;
    let interval = Duration::from_millis(20);
    let config = quick(servers.iter().map(ProxiedServer::config)).health_check_interval(interval);
    let db = MultiDb::connect(config).await.unwrap();
    let before = pings(&servers[1]).await;
    eventually("they are asked", async || {
        pings(&servers[1]).await > before + 3
    })
    .await;
    db.close().await;
    let last = [pings(&servers[0]).await, pings(&servers[1]).await];
    tokio::time::sleep(interval * 20).await;
    assert_eq!([pings(&servers[0]).await, pings(&servers[1]).await], last);
}

#[tokio::test]
async fn a_removed_database_is_asked_nothing_any_more() {
    let interval = Duration::from_millis(20);
    let fixture = Fixture::with(2, |config| config.health_check_interval(interval)).await;
    fixture.db.remove_database(fixture.id("b")).await.unwrap();
    eventually("its connections are closed", async || {
        fixture[1].network.open() == 0
    })
    .await;
    let (accepted, last) = (fixture[1].network.accepted(), pings(&fixture[1]).await);
    tokio::time::sleep(interval * 20).await;
    assert_eq!(pings(&fixture[1]).await, last);
    assert_eq!(fixture[1].network.accepted(), accepted);
    fixture.finish().await;
}

/// Twenty failovers and as many ways back by force: every time the circuit changes before the active
/// database does, for every listener. No grace ends meanwhile, so nothing else happens.
#[tokio::test]
async fn events_come_in_the_order_of_the_decisions() {
    let fixture = Fixture::with(2, |mut config| {
        for database in &mut config.databases {
            database.grace_period = TEST_TIMEOUT * 10;
        }
        config
    })
    .await;
    let (mut first, mut second) = (fixture.db.events(), fixture.db.events());
    let a = fixture.id("a");
    for _ in 0..20 {
        fixture[0].server.kill();
        fixture.until_active("b").await;
        fixture[0].server.restart().await;
        eventually("there is a connection", async || {
            fixture.db.status().database(a).unwrap().connected
        })
        .await;
        fixture.db.force_active_database(a).await.unwrap();
    }
    let mut seen = [Vec::new(), Vec::new()];
    for (events, seen) in [&mut first, &mut second].into_iter().zip(&mut seen) {
        while let Ok(event) = events.try_recv() {
            match event {
                Event::CircuitChanged { database, to, .. } => {
                    seen.push(format!("{database} {to}"));
                }
                Event::ActiveDatabaseChanged { new, .. } => {
                    seen.push(new.map_or(String::new(), |new| new.to_string()));
                }
                _ => {}
            }
        }
    }
    let round = ["a open", "b", "a closed", "a"];
    let expected: Vec<_> = round.iter().cycle().take(20 * round.len()).collect();
    assert_eq!(
        seen[0].iter().map(String::as_str).collect::<Vec<_>>(),
        expected.into_iter().copied().collect::<Vec<_>>()
    );
    assert_eq!(seen[0], seen[1]);
    fixture.finish().await;
}

/// That a planned return fails no command: see `fallback`. Here: there are no two switches for
/// one fault, however many commands fail at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_failures_at_once_are_one_failover() {
    let fixture = Fixture::with(3, |config| config.health_check_interval(TEST_TIMEOUT)).await;
    let mut events = fixture.db.events();
    let workload = Workload::counting(&fixture.db, 300);
    workload.progress(2).await;
    fixture[0].server.kill();
    fixture.until_active("b").await;
    workload.progress(2).await;
    let tally = workload.stop().await;
    tally.at_most_each(1);
    assert_eq!(
        changes(&mut events),
        [moved("a", "b", SwitchReason::Failover)]
    );
    fixture[0].server.restart().await;
    fixture.check_counts(&tally).await;
    fixture.finish().await;
}
