//! Health checks as a user writes them: probes, policies, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use herdsman_multidb::{
    Error, HealthCheck, HealthCheckPolicy, HealthTarget, MultiDb, ProbeSettings, Unhealthy,
};

use crate::support::{Fixture, ProxiedServer, quick};
use herdsman_test_support::eventually;

use HealthCheckPolicy::{HealthyAll, HealthyAny, HealthyMajority};

/// Of every three probes so many fail, the first ones.
#[derive(Debug)]
struct Flaky {
    fail: u32,
    asked: AtomicU32,
    settings: Option<ProbeSettings>,
}

impl Flaky {
    fn new(fail: u32, settings: Option<ProbeSettings>) -> Arc<Self> {
        Arc::new(Self {
            fail,
            asked: AtomicU32::new(0),
            settings,
        })
    }
}

impl HealthCheck for Flaky {
    fn name(&self) -> &str {
        "flaky"
    }

    fn check<'a>(&'a self, _: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        let probe = self.asked.fetch_add(1, Ordering::SeqCst) % 3;
        std::future::ready(if probe < self.fail {
            Err(Unhealthy(format!("probe {probe}")))
        } else {
            Ok(())
        })
        .boxed()
    }

    fn settings(&self) -> Option<ProbeSettings> {
        self.settings
    }
}

/// Whether a database starts, of whose three probes so many fail: (does it, probes asked).
async fn starts(fail: u32, policy: HealthCheckPolicy) -> (bool, u32) {
    let servers = ProxiedServer::start_many(1).await;
    let check = Flaky::new(fail, None);
    let config = quick(servers.iter().map(ProxiedServer::config))
        .health_checks([check.clone() as Arc<dyn HealthCheck>])
        .health_check_probes(3)
        .health_check_interval(Duration::from_secs(3600))
        .health_check_policy(policy);
    let result = MultiDb::connect(config).await;
    let asked = check.asked.load(Ordering::SeqCst);
    match result {
        Ok(db) => {
            db.close().await;
            (true, asked)
        }
        Err(Error::InitialHealthCheckFailed { .. }) => (false, asked),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn all_majority_or_any_of_the_probes_must_pass_and_none_is_asked_in_vain() {
    for (fail, policy, expected) in [
        (0, HealthyAll, (true, 3)),
        (1, HealthyAll, (false, 1)),
        (1, HealthyMajority, (true, 3)),
        (0, HealthyMajority, (true, 2)),
        (2, HealthyMajority, (false, 2)),
        (2, HealthyAny, (true, 3)),
        (0, HealthyAny, (true, 1)),
        (3, HealthyAny, (false, 3)),
    ] {
        assert_eq!(
            starts(fail, policy).await,
            expected,
            "{fail} of 3, {policy:?}"
        );
    }
}

#[tokio::test]
async fn a_check_may_have_probes_and_a_policy_of_its_own() {
    let servers = ProxiedServer::start_many(1).await;
    let own = ProbeSettings {
        probes: 3,
        delay: Duration::ZERO,
        timeout: Duration::from_secs(3),
        policy: HealthyAny,
    };
    let check = Flaky::new(2, Some(own));
    let config = quick(servers.iter().map(ProxiedServer::config))
        .health_checks([check as Arc<dyn HealthCheck>])
        .health_check_probes(1);
    MultiDb::connect(config).await.unwrap().close().await;
}

/// Never answers for `a`.
#[derive(Debug)]
struct Silent;

impl HealthCheck for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        if &*target.database().name == "a" {
            std::future::pending().boxed()
        } else {
            std::future::ready(Ok(())).boxed()
        }
    }
}

#[tokio::test]
async fn a_check_that_never_ends_is_unhealthy_when_its_time_is_over_and_holds_up_no_other() {
    let fixture = Fixture::with(2, |config| {
        config.health_check_timeout(Duration::from_millis(300))
    })
    .await;
    fixture.db.add_health_check(Arc::new(Silent)).await.unwrap();
    fixture.until_active("b").await;
    let rounds = || fixture.db.metrics().databases[1].healthy_rounds;
    let before = rounds();
    eventually("b is asked on", async || rounds() > before + 5).await;
    fixture.finish().await;
}

/// Checks ask over connections of their own: they neither wait for a slow command nor count as one.
#[tokio::test]
async fn checks_do_not_travel_with_commands() {
    let fixture = Fixture::of(1).await;
    let mut db = fixture.db.clone();
    let before = fixture.db.metrics().databases[0].successes;
    let rounds = || fixture.db.metrics().databases[0].healthy_rounds;
    let first = rounds();
    eventually("some rounds", async || rounds() > first + 3).await;
    assert_eq!(fixture.db.metrics().databases[0].successes, before);
    let _: () = redis::cmd("PING").query_async(&mut db).await.unwrap();
    assert_eq!(fixture.db.metrics().databases[0].successes, before + 1);
    assert!(
        fixture[0].network.open() >= 2,
        "one for commands, one for checks"
    );
    fixture.finish().await;
}
