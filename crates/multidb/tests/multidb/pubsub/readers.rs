//! Many readers, slow readers, readers that leave.

use herdsman_multidb::{DatabaseConfig, Item, MultiDb, SubscribeError, TopicKind};

use super::{Flood, calm, next, next_gap, publish, receives, subscribers};
use crate::support::{Fixture, quick};
use herdsman_test_support::eventually;
use herdsman_test_support::redis::Server;

/// Connections of a server that listen.
async fn listening(server: &Server) -> usize {
    let list: String = server.ask("CLIENT LIST TYPE pubsub").await.unwrap();
    list.lines().count()
}

#[tokio::test]
async fn all_readers_share_one_connection_and_each_receives_its_own() {
    let fixture = Fixture::with(1, calm).await;
    let (mut one, mut two) = (fixture.db.pubsub(), fixture.db.pubsub());
    one.subscribe(&["news", "weather"]).await.unwrap();
    two.subscribe("news").await.unwrap();
    two.psubscribe("w*").await.unwrap();
    assert_eq!(listening(&fixture[0].server).await, 1);
    assert_eq!(publish(&fixture[0].server, "news", "1").await, 1);
    publish(&fixture[0].server, "weather", "2").await;
    publish(&fixture[0].server, "wind", "3").await;
    receives(&mut one, "1").await;
    receives(&mut one, "2").await;
    receives(&mut two, "1").await;
    let Item::Message(message) = next(&mut two).await else {
        panic!("no message");
    };
    assert_eq!(message.channel(), Ok("weather"));
    assert_eq!(message.pattern.as_deref(), Some(&b"w*"[..]));
    receives(&mut two, "3").await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_subscription_ends_for_the_one_who_ends_it_and_at_the_server_with_the_last() {
    let fixture = Fixture::with(1, calm).await;
    let server = &fixture[0].server;
    let (mut one, mut two) = (fixture.db.pubsub(), fixture.db.pubsub());
    one.subscribe(&["news", "weather"]).await.unwrap();
    two.subscribe("news").await.unwrap();
    one.unsubscribe("news").await.unwrap();
    assert_eq!(subscribers(server, "news").await, 1);
    publish(server, "news", "1").await;
    publish(server, "weather", "2").await;
    receives(&mut one, "2").await;
    receives(&mut two, "1").await;
    drop(two);
    eventually("the last has left", async || {
        subscribers(server, "news").await == 0
    })
    .await;
    assert_eq!(subscribers(server, "weather").await, 1);
    let none: &[&str] = &[];
    one.unsubscribe(none).await.unwrap();
    eventually("no subscription is left", async || {
        listening(server).await == 0
    })
    .await;
    one.subscribe("news").await.unwrap();
    publish(server, "news", "3").await;
    receives(&mut one, "3").await;
    fixture.finish().await;
}

#[tokio::test]
async fn both_halves_of_a_reader_work_and_it_ends_with_the_second() {
    let fixture = Fixture::with(1, calm).await;
    let (mut subscriptions, mut items) = fixture.db.pubsub().split();
    subscriptions.subscribe("news").await.unwrap();
    drop(subscriptions);
    publish(&fixture[0].server, "news", "1").await;
    let item = items.recv().await.unwrap();
    assert_eq!(item.message().unwrap().payload(), Ok("1"));
    drop(items);
    eventually("no subscription is left", async || {
        listening(&fixture[0].server).await == 0
    })
    .await;
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_what_it_missed_and_disturbs_nobody() {
    const CAPACITY: u64 = 10;
    const ALL: u64 = 1000;
    let fixture = Fixture::with(1, calm).await;
    let mut slow = fixture
        .db
        .pubsub_with_capacity(usize::try_from(CAPACITY).unwrap());
    let mut quick = fixture.db.pubsub();
    slow.subscribe("news").await.unwrap();
    quick.subscribe("news").await.unwrap();
    for number in 0..ALL {
        publish(&fixture[0].server, "news", &number.to_string()).await;
        receives(&mut quick, &number.to_string()).await;
    }
    for number in 0..CAPACITY {
        receives(&mut slow, &number.to_string()).await;
    }
    let missed = ALL - CAPACITY;
    assert_eq!(next(&mut slow).await, Item::Lagged { missed });
    publish(&fixture[0].server, "news", "on").await;
    receives(&mut slow, "on").await;
    fixture.finish().await;
}

/// A gap that does not fit is part of what is announced as missed: a reader that lagged reads its
/// state afresh in any case.
#[tokio::test]
async fn a_slow_reader_misses_no_gap_without_being_told() {
    let fixture = Fixture::with(2, calm).await;
    let mut slow = fixture.db.pubsub_with_capacity(1);
    let mut quick = fixture.db.pubsub();
    slow.subscribe("news").await.unwrap();
    quick.subscribe("news").await.unwrap();
    publish(&fixture[0].server, "news", "1").await;
    receives(&mut quick, "1").await;
    fixture
        .db
        .force_active_database(fixture.id("b"))
        .await
        .unwrap();
    next_gap(&mut quick).await;
    receives(&mut slow, "1").await;
    assert_eq!(next(&mut slow).await, Item::Lagged { missed: 1 });
    fixture.finish().await;
}

#[tokio::test]
async fn closing_the_client_ends_every_stream_after_its_last_item() {
    let fixture = Fixture::with(1, calm).await;
    let mut listener = fixture.db.pubsub();
    let mut other = fixture.db.pubsub();
    listener.subscribe("news").await.unwrap();
    other.subscribe("news").await.unwrap();
    publish(&fixture[0].server, "news", "last").await;
    receives(&mut other, "last").await;
    fixture.db.close().await;
    receives(&mut listener, "last").await;
    assert_eq!(listener.recv().await, None);
    let refused = listener.subscribe("weather").await;
    assert_eq!(refused, Err(SubscribeError::Closed));
    assert_eq!(fixture.db.pubsub().recv().await, None);
    fixture.finish().await;
}

#[tokio::test]
async fn a_reader_keeps_its_client_and_the_last_of_both_ends_it() {
    let server = Server::start().await;
    let config = calm(quick([DatabaseConfig::from_url(server.url())]));
    let mut listener = MultiDb::connect(config).await.unwrap().pubsub();
    listener.subscribe("news").await.unwrap();
    publish(&server, "news", "1").await;
    receives(&mut listener, "1").await;
    drop(listener);
    eventually("no connection is left", async || {
        let clients = server.info("connected_clients").await;
        clients.as_deref() == Some("1")
    })
    .await;
}

/// A server that allows its user some channels only.
async fn restricted(channels: &str) -> (Server, DatabaseConfig) {
    let server = Server::start().await;
    let user = format!("ACL SETUSER reader on >secret ~* +@all resetchannels {channels}");
    server.run(&user).await;
    let url = server.url().replace("://", "://reader:secret@");
    (server, DatabaseConfig::from_url(url))
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_and_the_rest_is_received() {
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
    receives(&mut listener, "1").await;
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
    receives(&mut listener, "1").await;
    let other = db.status().databases[1].database.id;
    db.force_active_database(other).await.unwrap();
    next_gap(&mut listener).await;
    let item = next(&mut listener).await;
    let Item::Refused { topic, .. } = &item else {
        panic!("{item:?}");
    };
    assert_eq!(&topic.name[..], b"secrets");
    publish(&some, "news", "2").await;
    receives(&mut listener, "2").await;
    db.close().await;
}

/// A hundred readers make every message a hundred times the work that it was to publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_outruns_every_reader_is_counted_and_not_kept() {
    const CAPACITY: u64 = 16;
    let fixture = Fixture::with(1, calm).await;
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut reader = fixture
            .db
            .pubsub_with_capacity(usize::try_from(CAPACITY).unwrap());
        reader.subscribe("news").await.unwrap();
        readers.push(reader);
    }
    let flood = Flood::on(&fixture[0].server, "news", "a");
    eventually("it is a flood", async || flood.published() > 1_000).await;
    // Its confirmation comes after much that has not been received yet.
    let mut late = fixture.db.pubsub();
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
        assert!(kept >= CAPACITY && missed > 0, "{kept} kept");
    }
    fixture.finish().await;
}
