//! Databases that are more than one server: Redis Clusters and sentinel groups, of real processes.

use std::time::Duration;

use herdsman_multidb::{DatabaseConfig, MultiDb, MultiDbConfig};
use redis::{AsyncCommands, pipe};

use crate::support::{Tally, Workload, quick};
use herdsman_test_support::redis::{Cluster, Plan, SentinelGroup, Server};
use herdsman_test_support::{TEST_TIMEOUT, eventually};

const USERS: usize = 64;

fn over(heavy: DatabaseConfig, light: DatabaseConfig) -> MultiDbConfig {
    let short = Duration::from_secs(1);
    quick([
        heavy.name("a").weight(2.0).grace_period(short),
        light.name("b").weight(1.0).grace_period(short),
    ])
    .auto_fallback_interval(Some(Duration::from_millis(200)))
}

fn active(db: &MultiDb) -> String {
    let status = db.status();
    let active = status.active();
    active.map_or(String::new(), |active| active.database.name.to_string())
}

async fn until_active(db: &MultiDb, name: &str) {
    eventually(&format!("{name} is active"), async || active(db) == name).await;
}

/// Every acknowledged count is in the cluster or on the single server.
async fn check_counts(tally: &Tally, cluster: &Cluster, single: &Server) {
    for counts in &tally.users {
        let found = cluster.number(&counts.key).await + single.number(&counts.key).await;
        counts.check(u64::try_from(found).unwrap());
    }
}

async fn single() -> (Server, DatabaseConfig) {
    let server = Plan::new().durable().start().await;
    let config = DatabaseConfig::from_url(server.url());
    (server, config)
}

/// The cluster serves; something happens to one of its nodes; the single server takes over; the
/// cluster is whole again and takes back.
async fn cluster_survives(harm: impl Fn(&Server), mend: impl AsyncFn(&Server)) {
    let cluster = Cluster::start(3).await;
    let (server, config) = single().await;
    let db = MultiDb::connect(over(DatabaseConfig::cluster(cluster.urls()), config))
        .await
        .unwrap();
    let workload = Workload::counting(&db, USERS);
    workload.progress(5).await;
    assert_eq!(active(&db), "a");
    harm(&cluster.nodes[1]);
    until_active(&db, "b").await;
    workload.progress(5).await;
    mend(&cluster.nodes[1]).await;
    cluster.serves().await;
    until_active(&db, "a").await;
    workload.progress(5).await;
    let tally = workload.stop().await;
    tally.only_in_flight();
    tally.at_most_each(1);
    check_counts(&tally, &cluster, &server).await;
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_a_node_is_left_and_returned_to_when_it_is_whole() {
    cluster_survives(Server::kill, async |node| node.restart().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_a_node_that_hangs_is_left_and_returned_to_when_it_is_whole() {
    cluster_survives(Server::pause, async |node| node.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_cluster_to_cluster_when_the_whole_of_one_fails() {
    let (heavy, light) = tokio::join!(Cluster::start(3), Cluster::start(3));
    let db = MultiDb::connect(over(
        DatabaseConfig::cluster(heavy.urls()),
        DatabaseConfig::cluster(light.urls()),
    ))
    .await
    .unwrap();
    let workload = Workload::counting(&db, USERS);
    workload.progress(5).await;
    heavy.kill();
    until_active(&db, "b").await;
    workload.progress(5).await;
    let tally = workload.stop().await;
    tally.only_in_flight();
    tally.at_most_each(1);
    // The failed cluster's counts are lost with it; the other one has no more than was asked for.
    for counts in &tally.users {
        let found = light.number(&counts.key).await;
        assert!(u64::try_from(found).unwrap() <= counts.acknowledged + counts.unknown());
    }
    db.close().await;
}

#[tokio::test]
async fn on_a_cluster_commands_of_many_keys_and_pipelines_work() {
    let cluster = Cluster::start(3).await;
    let db = MultiDb::connect(quick([DatabaseConfig::cluster(cluster.urls())]))
        .await
        .unwrap();
    let mut connection = db.clone();
    let pairs: Vec<_> = (0..50).map(|i| (format!("key:{i}"), i)).collect();
    let _: () = connection.mset(&pairs).await.unwrap();
    let keys: Vec<_> = pairs.iter().map(|(key, _)| key).collect();
    let values: Vec<u64> = connection.mget(&keys).await.unwrap();
    assert_eq!(values, (0..50).collect::<Vec<_>>());
    let (n, m): (u64, u64) = pipe()
        .incr("{one}n", 1)
        .incr("{one}m", 2)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!((n, m), (1, 2));
    // CROSSSLOT is the caller's mistake, not the cluster's.
    let crossed: redis::RedisResult<()> = connection.rename("key:1", "key:2").await;
    assert_eq!(crossed.unwrap_err().code(), Some("CROSSSLOT"));
    assert_eq!(db.status().active().unwrap().failures, 0);
    db.close().await;
}

/// A slot without a node: the whole cluster refuses, node by node, with errors of its own.
#[tokio::test]
async fn what_a_cluster_that_lost_a_slot_refuses_is_carried_out_by_the_next_database_once() {
    let cluster = Cluster::start(3).await;
    let (server, config) = single().await;
    let config = over(DatabaseConfig::cluster(cluster.urls()), config);
    // The checks are as good as switched off: it is the refusal itself that counts.
    let db = MultiDb::connect(config.health_check_interval(TEST_TIMEOUT))
        .await
        .unwrap();
    let mut connection = db.clone();
    assert_eq!(connection.incr::<_, _, i64>("n", 1).await.unwrap(), 1);
    let slot: u16 = cluster.nodes[0].ask("CLUSTER KEYSLOT n").await.unwrap();
    for node in &cluster.nodes {
        node.run(&format!("CLUSTER DELSLOTS {slot}")).await;
    }
    assert_eq!(connection.incr::<_, _, i64>("n", 1).await.unwrap(), 1);
    assert_eq!(active(&db), "b");
    assert_eq!(server.number("n").await, 1);
    db.close().await;
}

/// The seed nodes are a beginning, not the cluster.
#[tokio::test]
async fn a_cluster_is_found_through_any_of_its_nodes() {
    let cluster = Cluster::start(3).await;
    let (_dead, dead_url) = {
        let server = Server::start().await;
        server.kill();
        let url = server.url();
        (server, url)
    };
    let seeds = [dead_url, cluster.nodes[2].url()];
    let db = MultiDb::connect(quick([DatabaseConfig::cluster(seeds)]))
        .await
        .unwrap();
    for i in 0..20 {
        let _: () = db.clone().set(format!("key:{i}"), i).await.unwrap();
    }
    db.close().await;
}

fn group_config(group: &SentinelGroup) -> DatabaseConfig {
    DatabaseConfig::sentinel(group.urls(), group.name())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_group_is_left_when_its_master_dies_and_returned_to_at_its_new_master() {
    let group = SentinelGroup::start(3).await;
    let (server, config) = single().await;
    let db = MultiDb::connect(over(group_config(&group), config))
        .await
        .unwrap();
    let workload = Workload::counting(&db, USERS);
    workload.progress(5).await;
    assert_eq!(active(&db), "a");
    group.servers[0].kill();
    until_active(&db, "b").await;
    workload.progress(5).await;
    group.promoted().await;
    until_active(&db, "a").await;
    let _: () = db.clone().set("where", "new master").await.unwrap();
    let found: String = group.servers[1].ask("GET where").await.unwrap();
    assert_eq!(found, "new master");
    workload.progress(5).await;
    let tally = workload.stop().await;
    tally.only_in_flight();
    tally.at_most_each(1);
    // Replication may lose what a failed master had acknowledged; but nothing is there twice.
    for counts in &tally.users {
        let found = group.servers[1].number(&counts.key).await + server.number(&counts.key).await;
        assert!(u64::try_from(found).unwrap() <= counts.acknowledged + counts.unknown());
    }
    db.close().await;
}

/// A planned failover inside the group: the old master becomes a replica and says READONLY. With
/// no other database, the client asks the sentinels again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_a_sentinel_group_the_client_follows_the_master() {
    let group = SentinelGroup::start(1).await;
    let db = MultiDb::connect(quick([group_config(&group)]))
        .await
        .unwrap();
    let workload = Workload::counting(&db, 16);
    workload.progress(5).await;
    let failover = format!("SENTINEL FAILOVER {}", group.name());
    group.sentinels[0].run(&failover).await;
    group.promoted().await;
    group.demoted().await;
    workload.progress(5).await;
    let _: () = db.clone().set("where", "new master").await.unwrap();
    let found: String = group.servers[1].ask("GET where").await.unwrap();
    assert_eq!(found, "new master");
    workload.stop().await;
    db.close().await;
}

#[tokio::test]
async fn dead_sentinels_are_passed_over_and_without_any_the_master_still_serves() {
    let group = SentinelGroup::start(3).await;
    group.sentinels[0].kill();
    let db = MultiDb::connect(quick([group_config(&group)]))
        .await
        .unwrap();
    let mut connection = db.clone();
    let _: () = connection.set("key", 1).await.unwrap();
    group.sentinels[1].kill();
    group.sentinels[2].kill();
    let rounds = || {
        let metrics = db.metrics();
        metrics.databases[0].healthy_rounds
    };
    let before = rounds();
    eventually("some more healthy rounds", async || rounds() > before + 3).await;
    let _: () = connection.set("key", 2).await.unwrap();
    db.close().await;
}
