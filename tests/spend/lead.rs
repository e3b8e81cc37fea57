//! Who writes: one at a time, and it does no harm when that is not so.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::{On, Router, Stage, eventually};
use herdsman_test_support::Network;
use herdsman_test_support::redis::Server;

fn leaders(routers: &[Router]) -> usize {
    routers.iter().filter(|router| router.leads()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_routers_one_leads_and_when_it_dies_another() {
    let stage = Stage::on(On::Sqlite).await;
    let mut routers = Vec::new();
    for n in 0..4 {
        routers.push(stage.router(&format!("r{n}")).await);
    }
    let mut all = BTreeSet::new();
    for life in 0..3 {
        eventually("one leads", async || leaders(&routers) == 1).await;
        for (n, router) in routers.iter().enumerate() {
            let first = (life * 10 + n as u64) * 100;
            all.extend(router.record(first..first + 20).await);
        }
        let at = routers.iter().position(Router::leads).unwrap();
        let plan = routers.remove(at).crash().await;
        routers.push(stage.start(plan).await);
    }
    join_all(routers.iter().map(Router::settle)).await;
    stage.must_be(&all).await;
}

/// It does not have to run out first.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_in_order_hands_over_at_once() {
    let stage = Stage::on(On::Sqlite).await;
    let mut plan = stage.plan("a");
    plan.lease_ttl = Duration::from_secs(30);
    let first = stage.start(plan.clone()).await;
    eventually("it leads", async || first.leads()).await;
    let numbers = first.record(0..10).await;
    first.stop().await;
    plan.name = "b".to_owned();
    plan.dir.set_file_name("b");
    let began = Instant::now();
    let second = stage.start(plan).await;
    eventually("the other leads", async || second.leads()).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    stage.must_be(&numbers).await;
}

/// Redis forgets who leads, so that two think they do.
#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_at_once_count_once() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let stage = Stage::on(on).await;
        let second = Server::start().await;
        let one = stage.leader("one").await;
        // It has another opinion on which Redis is used, and in both it is the only one.
        let mut plan = stage.plan("other");
        plan.redis = vec![second.url()];
        let other = stage.start(plan).await;
        eventually("both lead", async || one.leads() && other.leads()).await;
        let mut all = BTreeSet::new();
        for life in 0..5 {
            all.extend(one.record(life * 200..life * 200 + 50).await);
            all.extend(other.record(life * 200 + 100..life * 200 + 150).await);
        }
        one.settle().await;
        other.settle().await;
        stage.must_be(&all).await;
    }
}

/// Its epoch counter is gone as well; the next one has to begin above what the database has seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_its_epochs_is_told_where_to_go_on() {
    let stage = Stage::on(On::Sqlite).await;
    let mut numbers = BTreeSet::new();
    for life in 0..4 {
        let router = stage.leader(&format!("r{life}")).await;
        numbers.extend(router.record(life * 10..life * 10 + 10).await);
        router.settle().await;
        router.crash().await;
        stage.redis.run("DEL {test:spend}:lease").await;
    }
    let before = stage.last_leader().await;
    stage.redis.run("FLUSHALL").await;
    let router = stage.leader("last").await;
    numbers.extend(router.record(100..110).await);
    eventually("it wrote", async || router.spend.stats().pending() == 0).await;
    let after = stage.last_leader().await;
    assert!(after.epoch > before.epoch, "{before:?}, {after:?}");
    stage.must_be(&numbers).await;
}

/// In the middle of a transaction everything stops for longer than the lease lasts, and then goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_leader_that_goes_on_commits_nothing() {
    for on in [On::Postgres, On::MariaDb] {
        let stage = Stage::on(on).await;
        let stale = stage.leader("stale").await;
        // What it says to the database from the first word of a transaction on arrives when it is too
        // late: it has looked whether it leads, and will not look again.
        let mut numbers = stale.record(900..910).await;
        stale.settle().await;
        stage.database.network().stop_requests_at("BEGIN");
        numbers.extend(stale.record(0..100).await);
        eventually("it has begun", async || {
            stage.database.network().network() == Network::NoRequests
        })
        .await;
        assert!(stage.read_and_there().await > 0, "it has read");
        let epoch = stage.last_leader().await.epoch;
        // Its Redis is gone as well, as it would be for a process that does not run.
        stage.network.set(Network::BlackHole).await;
        let (mut plan, _road) = stage.plan_by_itself("next").await;
        plan.lease_ttl = Duration::from_secs(60);
        let next = plan.start(stage.database.directly().await).await;
        eventually("the next one leads", async || next.leads()).await;
        eventually("and wrote", async || stage.depth().await == 0).await;
        stage.must_be(&numbers).await;
        let after = stage.last_leader().await;
        assert!(after.epoch > epoch, "under a higher epoch");
        stage.database.network().set(Network::Whole).await;
        stage.network.set(Network::Whole).await;
        stale.settle().await;
        stage.must_be(&numbers).await;
        let last = stage.last_leader().await;
        assert_eq!(last, after, "nothing of it was committed");
        assert!(!stale.leads());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_routers_of_one_database_are_never_in_each_others_way() {
    for on in [On::Postgres, On::MariaDb] {
        let stage = Stage::on(on).await;
        let deadlocks = stage.database.server().unwrap().deadlocks();
        let mut routers = Vec::new();
        for n in 0..20 {
            let mut plan = stage.plan(&format!("r{n}"));
            // Half of them never get to Redis, and write straight to the same rows.
            if n % 2 == 0 {
                plan.redis = vec!["redis://127.0.0.1:1".to_owned()];
                plan.patience = Duration::ZERO;
            }
            routers.push(stage.start(plan).await);
        }
        let mut all = BTreeSet::new();
        for life in 0..5 {
            let recorded = routers.iter().enumerate().map(|(n, router)| {
                let first = (life * 20 + n as u64) * 50;
                router.record(first..first + 50)
            });
            for numbers in join_all(recorded).await {
                all.extend(numbers);
            }
        }
        join_all(routers.iter().map(Router::settle)).await;
        stage.must_be(&all).await;
        let after = stage.database.server().unwrap().deadlocks();
        assert_eq!(after, deadlocks, "deadlocks by the server's own count");
    }
}
