//! A strategy, a check and a detector of somebody else's, also careless ones.

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

use crate::support::{Stage, Stand, quick};
use herdsman_test_support::{Network, eventually};

/// Whoever was added last, whatever they weigh; nobody is worth a move.
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
async fn a_strategy_of_ones_own_chooses_and_weights_mean_nothing() {
    let stage = Stage::with(3, |config| {
        config
            .failover_strategy(Arc::new(Latest))
            .auto_fallback_interval(Some(Duration::from_millis(20)))
    })
    .await;
    assert_eq!(stage.active(), "c");
    let _: () = stage.db.clone().set("where", "c").await.unwrap();
    stage[2].server.kill();
    stage.until_active("b").await;
    stage[2].server.restart().await;
    let c = stage.id("c");
    eventually("it is well again", async || {
        stage.db.status().database(c).unwrap().circuit == CircuitState::Closed
    })
    .await;
    // It is heavier than nobody the strategy would move for.
    let rounds = || stage.db.metrics().databases[2].healthy_rounds;
    let before = rounds();
    eventually("some rounds later", async || rounds() > before + 3).await;
    assert_eq!(stage.active(), "b");
    stage.finish().await;
}

/// Panics whenever it is asked, while it is switched on.
#[derive(Debug, Default)]
struct Careless(AtomicBool);

impl Careless {
    fn stumble(&self) {
        assert!(!self.0.load(Ordering::Relaxed), "careless");
    }
}

/// The trait is another crate's, and so is `Arc`.
#[derive(Debug, Clone)]
struct Shared(Arc<Careless>);

impl HealthCheck for Careless {
    fn name(&self) -> &str {
        "careless"
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
    let check = Arc::new(Careless::default());
    let other = Shared(Arc::new(Careless::default()));
    let stage = Stage::with(2, |mut config| {
        for database in &mut config.databases {
            database.grace_period = Duration::from_millis(100);
        }
        config.failover_strategy(Arc::new(other.clone()))
    })
    .await;
    stage.db.add_health_check(check.clone()).await.unwrap();
    stage
        .db
        .add_failure_detector(Arc::new(other.clone()))
        .await
        .unwrap();
    let mut db = stage.db.clone();
    let _: () = db.set("key", 1).await.unwrap();
    // A check that panics finds nobody well, and says why.
    check.0.store(true, Ordering::Relaxed);
    let said = || {
        let status = stage.db.status();
        let said = status.databases.iter().map(|one| {
            let health = one.last_health.as_ref()?;
            health.unhealthy.clone()
        });
        said.collect::<Vec<_>>()
    };
    let panicked = Some("careless: the check panicked".to_owned());
    eventually("both are found unwell", async || {
        said().iter().all(|said| *said == panicked)
    })
    .await;
    check.0.store(false, Ordering::Relaxed);
    eventually("commands are served again", async || {
        db.set::<_, _, ()>("key", 1).await.is_ok()
    })
    .await;
    for name in ["a", "b"] {
        let id = stage.id(name);
        eventually("it is trusted again", async || {
            stage.db.status().database(id).unwrap().circuit == CircuitState::Closed
        })
        .await;
    }
    // A strategy and a detector that panic are done without.
    other.0.0.store(true, Ordering::Relaxed);
    stage.db.force_active_database(stage.id("a")).await.unwrap();
    let _: () = db.set("key", 2).await.unwrap();
    stage[0].server.kill();
    stage.until_active("b").await;
    let _: () = db.set("key", 3).await.unwrap();
    stage.finish().await;
}

/// Finds one database unwell when told to, without asking it.
#[derive(Debug, Default)]
struct Verdict(AtomicBool);

impl HealthCheck for Verdict {
    fn name(&self) -> &str {
        "verdict"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        let unwell = &*target.database().name == "a" && self.0.load(Ordering::Relaxed);
        let answer = if unwell {
            Err(Unhealthy("left".into()))
        } else {
            Ok(())
        };
        async { answer }.boxed()
    }
}

/// A database that is far away and answers is left by a verdict: what is on its way to it is answered,
/// and a connection is there again before that.
#[tokio::test]
async fn what_is_on_its_way_to_a_slow_database_that_is_left_is_still_answered() {
    let verdict = Arc::new(Verdict::default());
    let check: Arc<dyn HealthCheck> = verdict.clone();
    let stage = Stage::with(2, |config| {
        config
            .health_checks([check])
            .response_timeout(Duration::from_secs(10))
    })
    .await;
    stage[0]
        .network
        .set(Network::Slow(Duration::from_secs(1)))
        .await;
    let mut db = stage.db.clone();
    let count = db.incr::<_, _, i64>("n", 1);
    let leave = async {
        eventually("it arrives", async || {
            stage[0].server.number("n").await == 1
        })
        .await;
        verdict.0.store(true, Ordering::Relaxed);
        stage.until_active("b").await;
    };
    let (count, ()) = tokio::join!(count, leave);
    assert_eq!(count.unwrap(), 1);
    assert_eq!(stage[1].server.number("n").await, 0);
    stage[0].network.set(Network::Whole).await;
    stage.finish().await;
}

/// A moment so far away is none: it would have ended the task that decides.
#[tokio::test]
async fn durations_without_end_are_refused() {
    let stand = Stand::start().await;
    let too_long = |config: MultiDbConfig| async {
        let result = MultiDb::connect(config).await;
        assert!(
            matches!(result, Err(Error::Invalid(Invalid::TooLong { .. }))),
            "{result:?}"
        );
    };
    let config = || quick([stand.config()]);
    too_long(config().auto_fallback_interval(Some(Duration::MAX))).await;
    too_long(config().response_timeout(Duration::MAX)).await;
    too_long(quick([stand.config().grace_period(Duration::MAX)])).await;
    let db = MultiDb::connect(config()).await.unwrap();
    let result = db.set_auto_fallback_interval(Some(Duration::MAX)).await;
    assert!(matches!(
        result,
        Err(Error::Invalid(Invalid::TooLong { .. }))
    ));
    let added = stand.config().grace_period(Duration::MAX);
    let result = db.add_database(added).await;
    assert!(matches!(
        result,
        Err(Error::Invalid(Invalid::TooLong { .. }))
    ));
    let _: () = db.clone().set("key", 1).await.unwrap();
    db.close().await;
}
