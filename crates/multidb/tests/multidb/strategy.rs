//! A strategy, a check and a detector of the caller's, also ones that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use herdsman_multidb::{
    Candidate, CircuitState, DatabaseId, Error, FailoverStrategy, FailureDetector, FailureKind,
    HealthCheck, HealthTarget, Invalid, MultiDb, MultiDbConfig, Unhealthy,
};
use redis::AsyncCommands;
use tokio::time::Instant;

use crate::support::{Fixture, ProxiedServer, quick};
use herdsman_test_support::{Network, eventually};

/// The last one added, whatever its weight; none is worth a move.
#[derive(Debug)]
struct Latest;

impl FailoverStrategy for Latest {
    fn database(&self, candidates: &[Candidate]) -> Option<DatabaseId> {
        candidates.iter().map(|one| one.id).max()
    }

    fn prefers(&self, _: &Candidate, _: &Candidate) -> bool {
        false
    }
}

#[tokio::test]
async fn a_custom_strategy_chooses_and_weights_mean_nothing() {
    let fixture = Fixture::with(3, |config| {
        config
            .failover_strategy(Arc::new(Latest))
            .auto_fallback_interval(Some(Duration::from_millis(20)))
    })
    .await;
    assert_eq!(fixture.active(), "c");
    let _: () = fixture.db.clone().set("where", "c").await.unwrap();
    fixture[2].server.kill();
    fixture.until_active("b").await;
    fixture[2].server.restart().await;
    let c = fixture.id("c");
    eventually("it is well again", async || {
        fixture.db.status().database(c).unwrap().circuit == CircuitState::Closed
    })
    .await;
    // A higher weight is no reason for this strategy to move.
    let rounds = || fixture.db.metrics().databases[2].healthy_rounds;
    let before = rounds();
    eventually("some rounds later", async || rounds() > before + 3).await;
    assert_eq!(fixture.active(), "b");
    fixture.finish().await;
}

/// Panics whenever it is asked, while it is switched on.
#[derive(Debug, Default)]
struct Panicking(AtomicBool);

impl Panicking {
    fn stumble(&self) {
        assert!(!self.0.load(Ordering::Relaxed), "panicking");
    }
}

/// The trait is another crate's, and so is `Arc`.
#[derive(Debug, Clone)]
struct Shared(Arc<Panicking>);

impl HealthCheck for Panicking {
    fn name(&self) -> &str {
        "panicking"
    }

    fn check<'a>(&'a self, _: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        self.stumble();
        async { Ok(()) }.boxed()
    }
}

impl FailoverStrategy for Shared {
    fn database(&self, candidates: &[Candidate]) -> Option<DatabaseId> {
        self.0.stumble();
        candidates.first().map(|one| one.id)
    }
}

impl FailureDetector for Shared {
    fn fresh(&self) -> Box<dyn FailureDetector> {
        Box::new(self.clone())
    }

    fn succeeded(&mut self, _: u64, _: Instant) {
        self.0.stumble();
    }

    fn failed(&mut self, _: FailureKind, _: Instant) -> bool {
        self.0.stumble();
        false
    }

    fn reset(&mut self) {}
}

#[tokio::test]
async fn what_panics_in_a_callers_code_stops_neither_checks_nor_decisions() {
    let check = Arc::new(Panicking::default());
    let other = Shared(Arc::new(Panicking::default()));
    let fixture = Fixture::with(2, |mut config| {
        for database in &mut config.databases {
            database.grace_period = Duration::from_millis(100);
        }
        config.failover_strategy(Arc::new(other.clone()))
    })
    .await;
    fixture.db.add_health_check(check.clone()).await.unwrap();
    fixture
        .db
        .add_failure_detector(Arc::new(other.clone()))
        .await
        .unwrap();
    let mut db = fixture.db.clone();
    let _: () = db.set("key", 1).await.unwrap();
    // A check that panics finds none healthy, and says why.
    check.0.store(true, Ordering::Relaxed);
    let said = || {
        let status = fixture.db.status();
        let said = status.databases.iter().map(|one| {
            let health = one.last_health.as_ref()?;
            health.unhealthy.clone()
        });
        said.collect::<Vec<_>>()
    };
    let panicked = Some("panicking: the check panicked".to_owned());
    eventually("both are found unhealthy", async || {
        said().iter().all(|said| *said == panicked)
    })
    .await;
    check.0.store(false, Ordering::Relaxed);
    eventually("commands are served again", async || {
        db.set::<_, _, ()>("key", 1).await.is_ok()
    })
    .await;
    for name in ["a", "b"] {
        let id = fixture.id(name);
        eventually("it is trusted again", async || {
            fixture.db.status().database(id).unwrap().circuit == CircuitState::Closed
        })
        .await;
    }
    // A strategy and a detector that panic are done without.
    other.0.0.store(true, Ordering::Relaxed);
    fixture
        .db
        .force_active_database(fixture.id("a"))
        .await
        .unwrap();
    let _: () = db.set("key", 2).await.unwrap();
    fixture[0].server.kill();
    fixture.until_active("b").await;
    let _: () = db.set("key", 3).await.unwrap();
    fixture.finish().await;
}

/// Finds one database unhealthy when told to, without asking it.
#[derive(Debug, Default)]
struct Verdict(AtomicBool);

impl HealthCheck for Verdict {
    fn name(&self) -> &str {
        "verdict"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        let unhealthy = &*target.database().name == "a" && self.0.load(Ordering::Relaxed);
        let answer = if unhealthy {
            Err(Unhealthy("left".into()))
        } else {
            Ok(())
        };
        async { answer }.boxed()
    }
}

/// A slow database that answers is left by a decision: commands in flight to it are answered,
/// and a connection is there again before that.
#[tokio::test]
async fn what_is_on_its_way_to_a_slow_database_that_is_left_is_still_answered() {
    let verdict = Arc::new(Verdict::default());
    let check: Arc<dyn HealthCheck> = verdict.clone();
    let fixture = Fixture::with(2, |config| {
        config
            .health_checks([check])
            .response_timeout(Duration::from_secs(10))
    })
    .await;
    fixture[0]
        .network
        .set(Network::Slow(Duration::from_secs(1)))
        .await;
    let mut db = fixture.db.clone();
    let count = db.incr::<_, _, i64>("n", 1);
    let leave = async {
        eventually("it arrives", async || {
            fixture[0].server.number("n").await == 1
        })
        .await;
        verdict.0.store(true, Ordering::Relaxed);
        fixture.until_active("b").await;
    };
    let (count, ()) = tokio::join!(count, leave);
    assert_eq!(count.unwrap(), 1);
    assert_eq!(fixture[1].server.number("n").await, 0);
    fixture[0].network.set(Network::Whole).await;
    fixture.finish().await;
}

/// A moment so far away is none: it would have ended the task that decides.
#[tokio::test]
async fn durations_without_end_are_refused() {
    let proxied = ProxiedServer::start().await;
    let too_long = |config: MultiDbConfig| async {
        let result = MultiDb::connect(config).await;
        assert!(
            matches!(result, Err(Error::Invalid(Invalid::TooLong { .. }))),
            "{result:?}"
        );
    };
    let config = || quick([proxied.config()]);
    too_long(config().auto_fallback_interval(Some(Duration::MAX))).await;
    too_long(config().response_timeout(Duration::MAX)).await;
    too_long(quick([proxied.config().grace_period(Duration::MAX)])).await;
    let db = MultiDb::connect(config()).await.unwrap();
    let result = db.set_auto_fallback_interval(Some(Duration::MAX)).await;
    assert!(matches!(
        result,
        Err(Error::Invalid(Invalid::TooLong { .. }))
    ));
    let added = proxied.config().grace_period(Duration::MAX);
    let result = db.add_database(added).await;
    assert!(matches!(
        result,
        Err(Error::Invalid(Invalid::TooLong { .. }))
    ));
    let _: () = db.clone().set("key", 1).await.unwrap();
    db.close().await;
}
