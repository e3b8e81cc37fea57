//! What a stream is like while databases change, die and come back.

use std::time::Duration;

use herdsman_multidb::{Event, GapCause, Item};

use super::{Flood, calm, gap, hears, hears_again, interrupted, next, publish, subscribers};
use crate::support::{Fault, Stage, next_event};
use herdsman_test_support::{Network, eventually};

#[tokio::test]
async fn the_new_database_is_subscribed_before_the_old_one_is_left() {
    let stage = Stage::with(2, calm).await;
    let mut listener = stage.db.pubsub_with_room(1 << 20);
    listener.subscribe("news").await.unwrap();
    assert_eq!(subscribers(&stage[1].server, "news").await, 0);
    // Everything on the way to the new one takes its time, so that there is something to see.
    stage[1]
        .network
        .set(Network::Slow(Duration::from_millis(150)))
        .await;
    stage.db.force_active_database(stage.id("b")).await.unwrap();
    let mut published = 0;
    while publish(&stage[0].server, "news", &published.to_string()).await == 1 {
        published += 1;
    }
    assert_eq!(
        subscribers(&stage[1].server, "news").await,
        1,
        "left too early"
    );
    for payload in 0..published {
        hears(&mut listener, &payload.to_string()).await;
    }
    let seam = gap(&mut listener).await;
    assert_eq!((&*seam.from.name, &*seam.to.name), ("a", "b"));
    assert_eq!(
        (seam.cause, seam.silence),
        (GapCause::Moved, Duration::ZERO)
    );
    publish(&stage[1].server, "news", "b").await;
    hears(&mut listener, "b").await;
    stage.finish().await;
}

/// Both databases are flooded all the time, and the active one changes all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_under_a_flood_never_mix_two_databases_and_lose_nothing_in_between() {
    const MOVES: usize = 10;
    let stage = Stage::with(2, calm).await;
    let mut listener = stage.db.pubsub_with_room(1 << 20);
    listener.subscribe("news").await.unwrap();
    let floods = [
        Flood::on(&stage[0].server, "news", "a"),
        Flood::on(&stage[1].server, "news", "b"),
    ];
    let mut heard: u64 = 0;
    for turn in 1..=MOVES {
        let (here, there) = if turn % 2 == 1 {
            ("a", "b")
        } else {
            ("b", "a")
        };
        // Some of this database, then the order to move, then all that is left, then the seam.
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
                    (last, heard) = (Some(number), heard + 1);
                    if heard.is_multiple_of(300) && stage.active() == here {
                        let there = stage.id(there);
                        stage.db.force_active_database(there).await.unwrap();
                    }
                }
                Item::Gap(seam) => {
                    assert_eq!((&*seam.from.name, &*seam.to.name), (here, there));
                    assert_eq!((seam.silence, seam.dropped), (Duration::ZERO, 0));
                    break;
                }
                item => panic!("{item:?}"),
            }
        }
        assert!(last.is_some());
    }
    let published: u64 = floods.iter().map(Flood::published).sum();
    assert!(heard <= published);
    println!("{heard} of {published} heard over {MOVES} moves");
    for flood in floods {
        flood.stop().await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_subscriber_that_never_sends_a_command_is_moved_when_its_database_dies() {
    let stage = Stage::of(2).await;
    let mut events = stage.db.events();
    let mut listener = stage.db.pubsub();
    listener.psubscribe("n*").await.unwrap();
    publish(&stage[0].server, "news", "one").await;
    hears(&mut listener, "one").await;
    stage[0].server.kill();
    interrupted(&mut listener).await;
    let seam = gap(&mut listener).await;
    assert_eq!((&*seam.from.name, &*seam.to.name), ("a", "b"));
    println!("killed: nobody heard for {:?}", seam.silence);
    publish(&stage[1].server, "news", "two").await;
    hears(&mut listener, "two").await;
    let announced = next_event(&mut events, |event| match event {
        Event::PubSubGap {
            from, to: Some(to), ..
        } => Some((from.unwrap(), to)),
        _ => None,
    });
    let (from, to) = announced.await;
    assert_eq!((&*from.name, &*to.name), ("a", "b"));
    stage.finish().await;
}

#[tokio::test]
async fn a_database_that_swallows_everything_is_left_by_its_subscribers() {
    let stage = Stage::of(2).await;
    let mut listener = stage.db.pubsub();
    listener.subscribe("news").await.unwrap();
    Fault::BlackHole.strike(&stage[0]).await;
    loop {
        match next(&mut listener).await {
            Item::Gap(seam) => {
                assert_eq!(&*seam.to.name, "b");
                println!("black hole: nobody heard for {:?}", seam.silence);
                break;
            }
            item => assert!(matches!(item, Item::Interrupted { .. }), "{item:?}"),
        }
    }
    publish(&stage[1].server, "news", "two").await;
    hears(&mut listener, "two").await;
    Fault::BlackHole.heal(&stage[0]).await;
    stage.finish().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew_and_announced() {
    let stage = Stage::of(1).await;
    let mut listener = stage.db.pubsub();
    listener.subscribe("news").await.unwrap();
    stage[0].network.reset();
    interrupted(&mut listener).await;
    let seam = gap(&mut listener).await;
    assert_eq!((&*seam.from.name, &*seam.to.name), ("a", "a"));
    assert_eq!(seam.cause, GapCause::Reconnected);
    publish(&stage[0].server, "news", "again").await;
    hears_again(&mut listener, "again").await;
    stage.finish().await;
}

/// Nothing tells that a black hole is one, and nobody sends anything into it but the hub.
#[tokio::test]
async fn a_silent_connection_to_the_only_database_is_found_out() {
    let stage = Stage::of(1).await;
    let mut listener = stage.db.pubsub();
    listener.subscribe("news").await.unwrap();
    stage[0].network.set(Network::Silent).await;
    interrupted(&mut listener).await;
    stage[0].network.set(Network::Whole).await;
    gap(&mut listener).await;
    publish(&stage[0].server, "news", "again").await;
    hears_again(&mut listener, "again").await;
    stage.finish().await;
}

#[tokio::test]
async fn a_database_that_dies_and_comes_back_is_heard_again() {
    let stage = Stage::of(1).await;
    let mut listener = stage.db.pubsub();
    listener.subscribe("news").await.unwrap();
    for round in 0..3 {
        stage[0].server.kill();
        interrupted(&mut listener).await;
        stage[0].server.restart().await;
        gap(&mut listener).await;
        publish(&stage[0].server, "news", &round.to_string()).await;
        hears_again(&mut listener, &round.to_string()).await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn who_subscribes_while_nobody_answers_is_subscribed_when_somebody_does() {
    let stage = Stage::of(1).await;
    stage[0].network.set(Network::Refusing).await;
    let mut listener = stage.db.pubsub();
    let subscribing = listener.subscribe("news");
    let healing = async {
        eventually("the hub tries", async || stage[0].network.open() == 0).await;
        stage[0].network.set(Network::Whole).await;
    };
    let (subscribed, ()) = tokio::join!(subscribing, healing);
    subscribed.unwrap();
    publish(&stage[0].server, "news", "hello").await;
    hears(&mut listener, "hello").await;
    stage.finish().await;
}
