//! Over a Redis Cluster, where a script may name only keys of one slot.

use std::collections::BTreeSet;

use crate::support::{Fixture, On, eventually};
use herdsman_test_support::redis::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn usage_goes_over_a_cluster_and_its_leaders_follow_one_another() {
    let fixture = Fixture::on(On::Sqlite).await;
    let cluster = Cluster::start(3).await;
    let plan = |name| {
        let mut plan = fixture.plan(name);
        (plan.redis, plan.cluster) = (cluster.urls(), true);
        plan
    };
    let mut all = BTreeSet::new();
    let other = fixture.start(plan("other")).await;
    for round in 0..2 {
        let leader = fixture.start(plan("leader")).await;
        eventually("one leads", async || leader.leads() || other.leads()).await;
        all.extend(leader.record(round * 200..round * 200 + 100).await);
        all.extend(other.record(round * 200 + 100..round * 200 + 200).await);
        leader.settle().await;
        other.settle().await;
        for router in [&leader, &other] {
            let stats = router.spend.stats();
            assert_eq!(stats.diverted(), 0, "nothing had to go past it");
        }
        leader.crash().await;
    }
    assert!(fixture.last_leader().await.epoch > 0, "whoever led wrote");
    fixture.must_be(&all).await;
}
