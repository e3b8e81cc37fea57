//! The stream of a subscriber while databases change, fail and recover.

use std::time::Duration;

use herdsman_multidb::{Event, GapCause, Item};

use super::{
    Flood, calm, interrupted, next, next_gap, publish, receives, receives_again, subscribers,
};
use crate::support::{Fault, Fixture, next_event};
use herdsman_test_support::{Network, eventually};

#[tokio::test]
async fn the_new_database_is_subscribed_before_the_old_one_is_left() {
    let fixture = Fixture::with(2, calm).await;
    let mut listener = fixture.db.pubsub_with_capacity(1 << 20);
    listener.subscribe("news").await.unwrap();
    assert_eq!(subscribers(&fixture[1].server, "news").await, 0);
    // The network of the new one is slow, so that the order can be observed.
    fixture[1]
        .network
        .set(Network::Slow(Duration::from_millis(150)))
        .await;
    fixture
        .db
        .force_active_database(fixture.id("b"))
        .await
        .unwrap();
    let mut published = 0;
    while publish(&fixture[0].server, "news", &published.to_string()).await == 1 {
        published += 1;
    }
    assert_eq!(
        subscribers(&fixture[1].server, "news").await,
        1,
        "left too early"
    );
    for payload in 0..published {
        receives(&mut listener, &payload.to_string()).await;
    }
    let gap = next_gap(&mut listener).await;
    assert_eq!((&*gap.from.name, &*gap.to.name), ("a", "b"));
    assert_eq!((gap.cause, gap.silence), (GapCause::Moved, Duration::ZERO));
    publish(&fixture[1].server, "news", "b").await;
    receives(&mut listener, "b").await;
    fixture.finish().await;
}

/// Both databases are flooded all the time, and the active one changes all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_under_a_flood_never_mix_two_databases_and_lose_nothing_in_between() {
    const MOVES: usize = 10;
    let fixture = Fixture::with(2, calm).await;
    let mut listener = fixture.db.pubsub_with_capacity(1 << 20);
    listener.subscribe("news").await.unwrap();
    let floods = [
        Flood::on(&fixture[0].server, "news", "a"),
        Flood::on(&fixture[1].server, "news", "b"),
    ];
    let mut received: u64 = 0;
    for turn in 1..=MOVES {
        let (here, there) = if turn % 2 == 1 {
            ("a", "b")
        } else {
            ("b", "a")
        };
        // Some of this database, then the switch, then all that is left, then the gap.
        let mut last: Option<u64> = None;
        loop {
            match next(&mut listener).await {
                Item::Message(message) => {
                    let payload = message.payload().unwrap();
                    let (name, number) = payload.split_once(':').unwrap();
                    let number: u64 = number.parse().unwrap();
                    assert_eq!(name, here);
                    assert!(
                        last.is_none_or(|last| number == last + 1),
                        "{number} after {last:?}"
                    );
                    (last, received) = (Some(number), received + 1);
                    if received.is_multiple_of(300) && fixture.active() == here {
                        let there = fixture.id(there);
                        fixture.db.force_active_database(there).await.unwrap();
                    }
                }
                Item::Gap(gap) => {
                    assert_eq!((&*gap.from.name, &*gap.to.name), (here, there));
                    assert_eq!((gap.silence, gap.dropped), (Duration::ZERO, 0));
                    break;
                }
                item => panic!("{item:?}"),
            }
        }
        assert!(last.is_some());
    }
    let published: u64 = floods.iter().map(Flood::published).sum();
    assert!(received <= published);
    println!("{received} of {published} received over {MOVES} moves");
    for flood in floods {
        flood.stop().await;
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_subscriber_that_never_sends_a_command_is_moved_when_its_database_dies() {
    let fixture = Fixture::of(2).await;
    let mut events = fixture.db.events();
    let mut listener = fixture.db.pubsub();
    listener.psubscribe("n*").await.unwrap();
    publish(&fixture[0].server, "news", "one").await;
    receives(&mut listener, "one").await;
    fixture[0].server.kill();
    interrupted(&mut listener).await;
    let gap = next_gap(&mut listener).await;
    assert_eq!((&*gap.from.name, &*gap.to.name), ("a", "b"));
    println!("killed: nothing received for {:?}", gap.silence);
    publish(&fixture[1].server, "news", "two").await;
    receives(&mut listener, "two").await;
    let announced = next_event(&mut events, |event| match event {
        Event::PubSubGap {
            from, to: Some(to), ..
        } => Some((from.unwrap(), to)),
        _ => None,
    });
    let (from, to) = announced.await;
    assert_eq!((&*from.name, &*to.name), ("a", "b"));
    fixture.finish().await;
}

#[tokio::test]
async fn a_database_that_drops_everything_is_left_by_its_subscribers() {
    let fixture = Fixture::of(2).await;
    let mut listener = fixture.db.pubsub();
    listener.subscribe("news").await.unwrap();
    Fault::BlackHole.inject(&fixture[0]).await;
    loop {
        match next(&mut listener).await {
            Item::Gap(gap) => {
                assert_eq!(&*gap.to.name, "b");
                println!("black hole: nothing received for {:?}", gap.silence);
                break;
            }
            item => assert!(matches!(item, Item::Interrupted { .. }), "{item:?}"),
        }
    }
    publish(&fixture[1].server, "news", "two").await;
    receives(&mut listener, "two").await;
    Fault::BlackHole.clear(&fixture[0]).await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew_and_announced() {
    let fixture = Fixture::of(1).await;
    let mut listener = fixture.db.pubsub();
    listener.subscribe("news").await.unwrap();
    fixture[0].network.reset();
    interrupted(&mut listener).await;
    let gap = next_gap(&mut listener).await;
    assert_eq!((&*gap.from.name, &*gap.to.name), ("a", "a"));
    assert_eq!(gap.cause, GapCause::Reconnected);
    publish(&fixture[0].server, "news", "again").await;
    receives_again(&mut listener, "again").await;
    fixture.finish().await;
}

/// Nothing reports a black hole, and only the hub sends anything into it.
#[tokio::test]
async fn a_silent_connection_to_the_only_database_is_found_out() {
    let fixture = Fixture::of(1).await;
    let mut listener = fixture.db.pubsub();
    listener.subscribe("news").await.unwrap();
    fixture[0].network.set(Network::Silent).await;
    interrupted(&mut listener).await;
    fixture[0].network.set(Network::Whole).await;
    next_gap(&mut listener).await;
    publish(&fixture[0].server, "news", "again").await;
    receives_again(&mut listener, "again").await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_database_that_fails_and_recovers_is_subscribed_again() {
    let fixture = Fixture::of(1).await;
    let mut listener = fixture.db.pubsub();
    listener.subscribe("news").await.unwrap();
    for round in 0..3 {
        fixture[0].server.kill();
        interrupted(&mut listener).await;
        fixture[0].server.restart().await;
        next_gap(&mut listener).await;
        publish(&fixture[0].server, "news", &round.to_string()).await;
        receives_again(&mut listener, &round.to_string()).await;
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_subscription_while_no_database_answers_is_made_when_one_does() {
    let fixture = Fixture::of(1).await;
    fixture[0].network.set(Network::Refusing).await;
    let mut listener = fixture.db.pubsub();
    let subscribing = listener.subscribe("news");
    let healing = async {
        eventually("the hub tries", async || fixture[0].network.open() == 0).await;
        fixture[0].network.set(Network::Whole).await;
    };
    let (subscribed, ()) = tokio::join!(subscribing, healing);
    subscribed.unwrap();
    publish(&fixture[0].server, "news", "hello").await;
    receives(&mut listener, "hello").await;
    fixture.finish().await;
}
