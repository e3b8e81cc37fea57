//! Who writes: one at a time, and it does no harm when that is not so.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::{Fixture, On, Router, eventually};
use herdsman_test_support::Network;
use herdsman_test_support::redis::Server;

fn leaders(routers: &[Router]) -> usize {
    routers.iter().filter(|router| router.leads()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_routers_one_leads_and_when_it_dies_another() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut routers = Vec::new();
    for n in 0..4 {
        routers.push(fixture.router(&format!("r{n}")).await);
    }
    let mut all = BTreeSet::new();
    for round in 0..3 {
        eventually("one leads", async || leaders(&routers) == 1).await;
        for (n, router) in routers.iter().enumerate() {
            let first = (round * 10 + n as u64) * 100;
            all.extend(router.record(first..first + 20).await);
        }
        let at = routers.iter().position(Router::leads).unwrap();
        let plan = routers.remove(at).crash().await;
        routers.push(fixture.start(plan).await);
    }
    join_all(routers.iter().map(Router::settle)).await;
    fixture.must_be(&all).await;
}

/// It does not have to run out first.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_in_order_hands_over_at_once() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = fixture.plan("a");
    plan.lease_ttl = Duration::from_secs(30);
    let first = fixture.start(plan.clone()).await;
    eventually("it leads", async || first.leads()).await;
    let numbers = first.record(0..10).await;
    first.stop().await;
    plan.name = "b".to_owned();
    plan.dir.set_file_name("b");
    let began = Instant::now();
    let second = fixture.start(plan).await;
    eventually("the other leads", async || second.leads()).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    fixture.must_be(&numbers).await;
}

/// Redis forgets who leads, so that two think they do.
#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_at_once_count_once() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let second = Server::start().await;
        let one = fixture.leader("one").await;
        // It has another opinion on which Redis is used, and in both it is the only one.
        let mut plan = fixture.plan("other");
        plan.redis = vec![second.url()];
        let other = fixture.start(plan).await;
        eventually("both lead", async || one.leads() && other.leads()).await;
        let mut all = BTreeSet::new();
        for round in 0..5 {
            all.extend(one.record(round * 200..round * 200 + 50).await);
            all.extend(other.record(round * 200 + 100..round * 200 + 150).await);
        }
        one.settle().await;
        other.settle().await;
        fixture.must_be(&all).await;
    }
}

/// Its epoch counter is gone as well; the next one has to begin above what the database has seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_its_epochs_is_told_where_to_go_on() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut numbers = BTreeSet::new();
    for round in 0..4 {
        let router = fixture.leader(&format!("r{round}")).await;
        numbers.extend(router.record(round * 10..round * 10 + 10).await);
        router.settle().await;
        router.crash().await;
        fixture.redis.run("DEL {test:spend}:lease").await;
    }
    let before = fixture.last_leader().await;
    fixture.redis.run("FLUSHALL").await;
    let router = fixture.leader("last").await;
    numbers.extend(router.record(100..110).await);
    eventually("it wrote", async || router.spend.stats().pending() == 0).await;
    let after = fixture.last_leader().await;
    assert!(after.epoch > before.epoch, "{before:?}, {after:?}");
    fixture.must_be(&numbers).await;
}

/// In the middle of a transaction everything stops for longer than the lease lasts, and then goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_leader_that_goes_on_commits_nothing() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let stale = fixture.leader("stale").await;
        // What it says to the database from the first word of a transaction on arrives when it is too
        // late: it has retried whether it leads, and will not look again.
        let mut numbers = stale.record(900..910).await;
        stale.settle().await;
        fixture.database.network().stop_requests_at("BEGIN");
        numbers.extend(stale.record(0..100).await);
        eventually("it has begun", async || {
            fixture.database.network().network() == Network::NoRequests
        })
        .await;
        assert!(fixture.read_and_there().await > 0, "it has read");
        let epoch = fixture.last_leader().await.epoch;
        // Its Redis is gone as well, as it would be for a process that does not run.
        fixture.network.set(Network::BlackHole).await;
        let (mut plan, _network) = fixture.plan_with_own_network("next").await;
        plan.lease_ttl = Duration::from_secs(60);
        let next = plan.start(fixture.database.directly().await).await;
        eventually("the next one leads", async || next.leads()).await;
        eventually("and wrote", async || fixture.depth().await == 0).await;
        fixture.must_be(&numbers).await;
        let after = fixture.last_leader().await;
        assert!(after.epoch > epoch, "under a higher epoch");
        fixture.database.network().set(Network::Whole).await;
        fixture.network.set(Network::Whole).await;
        stale.settle().await;
        fixture.must_be(&numbers).await;
        let last = fixture.last_leader().await;
        assert_eq!(last, after, "nothing of it was committed");
        assert!(!stale.leads());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_routers_of_one_database_are_never_in_each_others_way() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        let deadlocks = fixture.database.server().unwrap().deadlocks();
        let mut routers = Vec::new();
        for n in 0..20 {
            let mut plan = fixture.plan(&format!("r{n}"));
            // Half of them never get to Redis, and write straight to the same rows.
            if n % 2 == 0 {
                plan.redis = vec!["redis://127.0.0.1:1".to_owned()];
                plan.accept_timeout = Duration::ZERO;
            }
            routers.push(fixture.start(plan).await);
        }
        let mut all = BTreeSet::new();
        for round in 0..5 {
            let recorded = routers.iter().enumerate().map(|(n, router)| {
                let first = (round * 20 + n as u64) * 50;
                router.record(first..first + 50)
            });
            for numbers in join_all(recorded).await {
                all.extend(numbers);
            }
        }
        join_all(routers.iter().map(Router::settle)).await;
        fixture.must_be(&all).await;
        let after = fixture.database.server().unwrap().deadlocks();
        assert_eq!(after, deadlocks, "deadlocks by the server's own count");
    }
}
