//! Subscriptions at databases that are more than one server.

use std::time::Duration;

use herdsman_multidb::{DatabaseConfig, GapCause, Item, MultiDb, MultiDbConfig, SubscribeError};
use tokio::time::timeout;

use super::{calm, interrupted, next, next_gap, publish, receives, receives_again};
use crate::support::quick;
use herdsman_test_support::redis::{Cluster, SentinelGroup, Server};

/// Between one try and the next.
const MOMENT: Duration = Duration::from_millis(100);

async fn over_cluster(
    cluster: &Cluster,
    change: impl FnOnce(MultiDbConfig) -> MultiDbConfig,
) -> MultiDb {
    let config = DatabaseConfig::cluster(cluster.urls());
    MultiDb::connect(change(quick([config]))).await.unwrap()
}

/// Publishes to a shard channel, at the node that has it.
async fn spublish(cluster: &Cluster, channel: &str, payload: &str) {
    for node in &cluster.nodes {
        let publish = format!("SPUBLISH {channel} {payload}");
        if node
            .ask::<u64>(&publish)
            .await
            .is_ok_and(|received| received == 1)
        {
            return;
        }
    }
    panic!("no subscriber of {payload} at {channel}");
}

#[tokio::test]
async fn of_a_cluster_every_nodes_messages_are_received() {
    let cluster = Cluster::start(3).await;
    let db = over_cluster(&cluster, calm).await;
    let mut listener = db.pubsub();
    listener.subscribe("news").await.unwrap();
    for (node, payload) in cluster.nodes.iter().zip(["1", "2", "3"]) {
        // Nodes pass messages on to one another as well as they can: again, until it arrives. Copies of
        // the last one may still come.
        loop {
            publish(node, "news", payload).await;
            let received = async {
                loop {
                    let item = listener.recv().await.unwrap();
                    if item.message().unwrap().payload() == Ok(payload) {
                        return;
                    }
                }
            };
            if timeout(MOMENT, received).await.is_ok() {
                break;
            }
        }
    }
    db.close().await;
}

#[tokio::test]
async fn shard_channels_are_received_wherever_their_slots_are() {
    let cluster = Cluster::start(3).await;
    let db = over_cluster(&cluster, calm).await;
    let mut listener = db.pubsub();
    let channels = ["orders:1", "orders:2", "orders:3", "orders:4", "orders:5"];
    listener.ssubscribe(&channels).await.unwrap();
    for channel in channels {
        spublish(&cluster, channel, channel).await;
        receives(&mut listener, channel).await;
    }
    listener.sunsubscribe("orders:1").await.unwrap();
    spublish(&cluster, "orders:2", "on").await;
    receives(&mut listener, "on").await;
    db.close().await;
}

/// Redis ends the subscriptions to a slot that it gives away, and the driver would take them up
/// elsewhere without a word.
#[tokio::test]
async fn a_shard_channel_whose_slot_moves_is_followed_and_the_gap_announced() {
    let cluster = Cluster::start(2).await;
    let db = over_cluster(&cluster, calm).await;
    let mut listener = db.pubsub();
    listener.ssubscribe("orders").await.unwrap();
    let slot: u64 = cluster.nodes[0]
        .ask("CLUSTER KEYSLOT orders")
        .await
        .unwrap();
    let receives = usize::from(slot < 8192);
    let to: String = cluster.nodes[receives].ask("CLUSTER MYID").await.unwrap();
    for node in [receives, 1 - receives] {
        let command = format!("CLUSTER SETSLOT {slot} NODE {to}");
        cluster.nodes[node].run(&command).await;
    }
    interrupted(&mut listener).await;
    let gap = next_gap(&mut listener).await;
    assert_eq!(gap.cause, GapCause::Reconnected);
    spublish(&cluster, "orders", "there").await;
    receives_again(&mut listener, "there").await;
    db.close().await;
}

#[tokio::test]
async fn a_shard_channel_ends_where_there_are_no_shards() {
    let cluster = Cluster::start(2).await;
    let server = Server::start().await;
    let databases = [
        DatabaseConfig::cluster(cluster.urls())
            .name("a")
            .weight(2.0),
        DatabaseConfig::from_url(server.url()).name("b"),
    ];
    let db = MultiDb::connect(calm(quick(databases))).await.unwrap();
    let mut listener = db.pubsub();
    listener.subscribe("news").await.unwrap();
    listener.ssubscribe("orders").await.unwrap();
    let single = db.status().databases[1].database.id;
    db.force_active_database(single).await.unwrap();
    next_gap(&mut listener).await;
    let item = next(&mut listener).await;
    assert!(matches!(item, Item::Refused { .. }), "{item:?}");
    publish(&server, "news", "still").await;
    receives(&mut listener, "still").await;
    let again = listener.ssubscribe("orders").await;
    assert!(
        matches!(again, Err(SubscribeError::Refused { .. })),
        "{again:?}"
    );
    db.close().await;
}

#[tokio::test]
async fn a_lost_node_of_a_cluster_is_noticed_by_subscribers_of_its_shard_channels() {
    let cluster = Cluster::start(2).await;
    let db = over_cluster(&cluster, |config| config).await;
    let mut listener = db.pubsub();
    listener.ssubscribe("orders").await.unwrap();
    let slot: u64 = cluster.nodes[0]
        .ask("CLUSTER KEYSLOT orders")
        .await
        .unwrap();
    let owner = &cluster.nodes[usize::from(slot >= 8192)];
    owner.kill();
    interrupted(&mut listener).await;
    owner.restart().await;
    cluster.serves().await;
    next_gap(&mut listener).await;
    spublish(&cluster, "orders", "back").await;
    receives_again(&mut listener, "back").await;
    db.close().await;
}

#[tokio::test]
async fn of_a_sentinel_group_the_current_master_is_subscribed() {
    let group = SentinelGroup::start(3).await;
    let config = DatabaseConfig::sentinel(group.urls(), group.name());
    let db = MultiDb::connect(quick([config])).await.unwrap();
    let mut listener = db.pubsub();
    listener.subscribe("news").await.unwrap();
    publish(&group.servers[0], "news", "1").await;
    receives(&mut listener, "1").await;
    group.servers[0].kill();
    interrupted(&mut listener).await;
    group.promoted().await;
    next_gap(&mut listener).await;
    publish(&group.servers[1], "news", "2").await;
    receives_again(&mut listener, "2").await;
    db.close().await;
}
