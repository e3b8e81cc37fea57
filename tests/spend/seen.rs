//! What can be seen from outside is true.

use std::time::Duration;

use herdsman::spend::Spend;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::support::{Fixture, On, eventually};
use herdsman_test_support::Network;

/// One metric, as Prometheus would read it.
fn metric(spend: &Spend, name: &str) -> i64 {
    let mut registry = Registry::with_prefix("herdsman");
    spend.stats().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let name = format!("herdsman_{name} ");
    let line = text.lines().find(|line| line.starts_with(&name));
    let line = line.unwrap_or_else(|| panic!("no {name}in\n{text}"));
    line[name.len()..].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_gauges_follow_what_waits_where() {
    let fixture = Fixture::on(On::Postgres).await;
    let leader = fixture.leader("a").await;
    let other = fixture.router("b").await;
    let spend = &leader.spend;
    assert_eq!(metric(spend, "pod_lock_manager_size"), 1);
    assert_eq!(metric(&other.spend, "pod_lock_manager_size"), 0);
    fixture.database.network().set(Network::Refusing).await;
    other.record(0..100).await;
    eventually("both see what waits in Redis", async || {
        [&leader, &other].iter().all(|router| {
            metric(&router.spend, "redis_spend_update_queue_size") > 0
                && metric(&router.spend, "redis_daily_spend_update_queue_size") >= 400
                && metric(&router.spend, "spend_redis_bytes") > 10_000
        })
    })
    .await;
    assert!(metric(&other.spend, "in_memory_spend_update_queue_size") > 0);
    assert!(metric(&other.spend, "in_memory_daily_spend_update_queue_size") >= 400);
    assert_eq!(metric(&other.spend, "spend_records_pending_total"), 100);
    assert_eq!(metric(&other.spend, "spend_records_owed"), 100);
    eventually("it gets old", async || {
        metric(&other.spend, "spend_oldest_unflushed_seconds") > 0
    })
    .await;
    fixture.database.network().set(Network::Whole).await;
    other.settle().await;
    eventually("nothing waits any more", async || {
        [&leader, &other].iter().all(|router| {
            metric(&router.spend, "redis_spend_update_queue_size") == 0
                && metric(&router.spend, "redis_daily_spend_update_queue_size") == 0
                && metric(&router.spend, "spend_redis_bytes") == 0
                && metric(&router.spend, "in_memory_spend_update_queue_size") == 0
                && metric(&router.spend, "spend_records_owed") == 0
        })
    })
    .await;
    assert_eq!(metric(&other.spend, "spend_records_committed_total"), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_redis_does_not_say_that_it_leads() {
    let fixture = Fixture::on(On::Sqlite).await;
    let leader = fixture.leader("a").await;
    // Whoever leads need not have asked Redis yet how much waits in it.
    eventually("it says that Redis answers", async || {
        metric(&leader.spend, "spend_redis_up") == 1
    })
    .await;
    fixture.network.set(Network::BlackHole).await;
    let over = async || metric(&leader.spend, "pod_lock_manager_size") == 0;
    eventually("its time is over", over).await;
    eventually("and it says why", async || {
        metric(&leader.spend, "spend_redis_up") == 0
    })
    .await;
    fixture.network.set(Network::Whole).await;
    eventually("it leads again", async || leader.leads()).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
}
