//! Many readers, slow readers, readers that leave.

use herdsman_multidb::{DatabaseConfig, Item, MultiDb, SubscribeError, TopicKind};

use super::{Flood, calm, gap, hears, next, publish, subscribers};
use crate::support::{Stage, quick};
use herdsman_test_support::eventually;
use herdsman_test_support::redis::Server;

/// Connections of a server that listen.
async fn listening(server: &Server) -> usize {
    let list: String = server.ask("CLIENT LIST TYPE pubsub").await.unwrap();
    list.lines().count()
}

#[tokio::test]
async fn all_readers_share_one_connection_and_each_hears_its_own() {
    let stage = Stage::with(1, calm).await;
    let (mut one, mut two) = (stage.db.pubsub(), stage.db.pubsub());
    one.subscribe(&["news", "weather"]).await.unwrap();
    two.subscribe("news").await.unwrap();
    two.psubscribe("w*").await.unwrap();
    assert_eq!(listening(&stage[0].server).await, 1);
    assert_eq!(publish(&stage[0].server, "news", "1").await, 1);
    publish(&stage[0].server, "weather", "2").await;
    publish(&stage[0].server, "wind", "3").await;
    hears(&mut one, "1").await;
    hears(&mut one, "2").await;
    hears(&mut two, "1").await;
    let Item::Message(message) = next(&mut two).await else {
        panic!("no message");
    };
    assert_eq!(message.channel(), Ok("weather"));
    assert_eq!(message.pattern.as_deref(), Some(&b"w*"[..]));
    hears(&mut two, "3").await;
    stage.finish().await;
}

#[tokio::test]
async fn a_subscription_ends_for_the_one_who_ends_it_and_at_the_server_with_the_last() {
    let stage = Stage::with(1, calm).await;
    let server = &stage[0].server;
    let (mut one, mut two) = (stage.db.pubsub(), stage.db.pubsub());
    one.subscribe(&["news", "weather"]).await.unwrap();
    two.subscribe("news").await.unwrap();
    one.unsubscribe("news").await.unwrap();
    assert_eq!(subscribers(server, "news").await, 1);
    publish(server, "news", "1").await;
    publish(server, "weather", "2").await;
    hears(&mut one, "2").await;
    hears(&mut two, "1").await;
    drop(two);
    eventually("the last has left", async || {
        subscribers(server, "news").await == 0
    })
    .await;
    assert_eq!(subscribers(server, "weather").await, 1);
    let none: &[&str] = &[];
    one.unsubscribe(none).await.unwrap();
    eventually("nobody listens", async || listening(server).await == 0).await;
    one.subscribe("news").await.unwrap();
    publish(server, "news", "3").await;
    hears(&mut one, "3").await;
    stage.finish().await;
}

#[tokio::test]
async fn both_halves_of_a_reader_work_and_it_ends_with_the_second() {
    let stage = Stage::with(1, calm).await;
    let (mut subscriptions, mut items) = stage.db.pubsub().split();
    subscriptions.subscribe("news").await.unwrap();
    drop(subscriptions);
    publish(&stage[0].server, "news", "1").await;
    let item = items.recv().await.unwrap();
    assert_eq!(item.message().unwrap().payload(), Ok("1"));
    drop(items);
    eventually("nobody listens", async || {
        listening(&stage[0].server).await == 0
    })
    .await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_what_it_missed_and_disturbs_nobody() {
    const ROOM: u64 = 10;
    const ALL: u64 = 1000;
    let stage = Stage::with(1, calm).await;
    let mut slow = stage.db.pubsub_with_room(usize::try_from(ROOM).unwrap());
    let mut quick = stage.db.pubsub();
    slow.subscribe("news").await.unwrap();
    quick.subscribe("news").await.unwrap();
    for number in 0..ALL {
        publish(&stage[0].server, "news", &number.to_string()).await;
        hears(&mut quick, &number.to_string()).await;
    }
    for number in 0..ROOM {
        hears(&mut slow, &number.to_string()).await;
    }
    let missed = ALL - ROOM;
    assert_eq!(next(&mut slow).await, Item::Lagged { missed });
    publish(&stage[0].server, "news", "on").await;
    hears(&mut slow, "on").await;
    stage.finish().await;
}

/// A gap that finds no room is part of what is announced as missed: a reader that lagged reads its
/// state afresh in any case.
#[tokio::test]
async fn a_slow_reader_misses_no_seam_without_being_told() {
    let stage = Stage::with(2, calm).await;
    let mut slow = stage.db.pubsub_with_room(1);
    let mut quick = stage.db.pubsub();
    slow.subscribe("news").await.unwrap();
    quick.subscribe("news").await.unwrap();
    publish(&stage[0].server, "news", "1").await;
    hears(&mut quick, "1").await;
    stage.db.force_active_database(stage.id("b")).await.unwrap();
    gap(&mut quick).await;
    hears(&mut slow, "1").await;
    assert_eq!(next(&mut slow).await, Item::Lagged { missed: 1 });
    stage.finish().await;
}

#[tokio::test]
async fn closing_the_client_ends_every_stream_after_its_last_item() {
    let stage = Stage::with(1, calm).await;
    let mut listener = stage.db.pubsub();
    let mut other = stage.db.pubsub();
    listener.subscribe("news").await.unwrap();
    other.subscribe("news").await.unwrap();
    publish(&stage[0].server, "news", "last").await;
    hears(&mut other, "last").await;
    stage.db.close().await;
    hears(&mut listener, "last").await;
    assert_eq!(listener.recv().await, None);
    let refused = listener.subscribe("weather").await;
    assert_eq!(refused, Err(SubscribeError::Closed));
    assert_eq!(stage.db.pubsub().recv().await, None);
    stage.finish().await;
}

#[tokio::test]
async fn a_reader_keeps_its_client_and_the_last_of_both_ends_it() {
    let server = Server::start().await;
    let config = calm(quick([DatabaseConfig::from_url(server.url())]));
    let mut listener = MultiDb::connect(config).await.unwrap().pubsub();
    listener.subscribe("news").await.unwrap();
    publish(&server, "news", "1").await;
    hears(&mut listener, "1").await;
    drop(listener);
    eventually("no connection is left", async || {
        let clients = server.info("connected_clients").await;
        clients.as_deref() == Some("1")
    })
    .await;
}

/// A server that lets its user hear of some channels only.
async fn restricted(channels: &str) -> (Server, DatabaseConfig) {
    let server = Server::start().await;
    let user = format!("ACL SETUSER reader on >secret ~* +@all resetchannels {channels}");
    server.run(&user).await;
    let url = server.url().replace("://", "://reader:secret@");
    (server, DatabaseConfig::from_url(url))
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_and_the_rest_is_heard() {
    let (server, config) = restricted("&news").await;
    let db = MultiDb::connect(calm(quick([config]))).await.unwrap();
    let mut listener = db.pubsub();
    let refused = listener.subscribe(&["news", "secrets"]).await.unwrap_err();
    let SubscribeError::Refused { topic, reason } = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        (topic.kind, &topic.name[..]),
        (TopicKind::Channel, &b"secrets"[..])
    );
    assert!(reason.contains("NOPERM"), "{reason}");
    publish(&server, "news", "1").await;
    hears(&mut listener, "1").await;
    db.close().await;
}

#[tokio::test]
async fn a_subscription_the_next_database_does_not_allow_ends_with_an_announcement() {
    let (all, first) = restricted("allchannels").await;
    let (some, second) = restricted("&news").await;
    let databases = [first.name("a").weight(2.0), second.name("b")];
    let db = MultiDb::connect(calm(quick(databases))).await.unwrap();
    let mut listener = db.pubsub();
    listener.subscribe(&["news", "secrets"]).await.unwrap();
    publish(&all, "secrets", "1").await;
    hears(&mut listener, "1").await;
    let other = db.status().databases[1].database.id;
    db.force_active_database(other).await.unwrap();
    gap(&mut listener).await;
    let item = next(&mut listener).await;
    let Item::Refused { topic, .. } = &item else {
        panic!("{item:?}");
    };
    assert_eq!(&topic.name[..], b"secrets");
    publish(&some, "news", "2").await;
    hears(&mut listener, "2").await;
    db.close().await;
}

/// A hundred readers make every message a hundred times the work that it was to publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_outruns_every_reader_is_counted_and_not_kept() {
    const ROOM: u64 = 16;
    let stage = Stage::with(1, calm).await;
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut reader = stage.db.pubsub_with_room(usize::try_from(ROOM).unwrap());
        reader.subscribe("news").await.unwrap();
        readers.push(reader);
    }
    let flood = Flood::on(&stage[0].server, "news", "a");
    eventually("it is a flood", async || flood.published() > 1_000).await;
    // Its confirmation stands behind much that nobody has heard yet.
    let mut late = stage.db.pubsub();
    late.subscribe("weather").await.unwrap();
    eventually("it was a flood", async || flood.published() > 10_000).await;
    let published = flood.stop().await;
    for reader in &mut readers {
        let (mut kept, mut missed) = (0, 0);
        while kept + missed < published {
            match next(reader).await {
                Item::Message(_) => kept += 1,
                Item::Lagged { missed: more } => missed += more,
                item => panic!("{item:?}"),
            }
        }
        assert_eq!(kept + missed, published);
        assert!(kept >= ROOM && missed > 0, "{kept} kept");
    }
    stage.finish().await;
}
