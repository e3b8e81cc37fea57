//! What an acknowledgement is worth when `redis` was asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use herdsman::spend::Durability;
use tokio::time::{Instant, timeout};

use crate::support::{Fixture, On, Plan, SOON, eventually, record};
use herdsman_test_support::Network;

fn with_redis_durability(plan: Plan) -> Plan {
    Plan {
        durability: Durability::Redis,
        ..plan
    }
}

/// The machine is gone, with its disk, the moment after the acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_record_survives_the_loss_of_the_machine() {
    let fixture = Fixture::on(On::Postgres).await;
    let other = fixture.leader("other").await;
    let mut all = BTreeSet::new();
    for round in 0..3 {
        let router = fixture
            .start(with_redis_durability(fixture.plan(&format!("r{round}"))))
            .await;
        fixture.database.network().set(Network::BlackHole).await;
        all.extend(router.record(round * 100..round * 100 + 100).await);
        let plan = router.crash().await;
        std::fs::remove_dir_all(&plan.dir).unwrap();
        fixture.database.network().set(Network::Whole).await;
    }
    eventually("the leader wrote it", async || {
        fixture.tables().await.counted().is_superset(&all)
    })
    .await;
    fixture.must_be(&all).await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_redis_or_the_database_has_it() {
    let fixture = Fixture::on(On::Postgres).await;
    let mut plan = with_redis_durability(fixture.plan("a"));
    plan.accept_timeout = Duration::from_millis(400);
    let router = fixture.start(plan).await;
    fixture.network.set(Network::Refusing).await;
    fixture.database.network().set(Network::Refusing).await;
    let mut answer = router.spend.record(record(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((&mut answer).now_or_never(), None, "only the disk has it");
    // Redis stays away: the database is as good.
    fixture.database.network().set(Network::Whole).await;
    answer.await.unwrap();
    fixture.must_be(&BTreeSet::from([1])).await;
}

/// Neither takes anything: the disk has it, nobody waits for ever, and it is counted when one does.
#[tokio::test(flavor = "multi_thread")]
async fn with_neither_an_answer_waits_so_long_and_the_next_ones_not_at_all() {
    let fixture = Fixture::on(On::Postgres).await;
    let mut plan = with_redis_durability(fixture.plan("a"));
    plan.accept_timeout = Duration::from_millis(400);
    let bound = plan.accept_timeout + Duration::from_secs(5);
    let router = fixture.start(plan).await;
    let mut all = router.record([0]).await;
    fixture.network.set(Network::BlackHole).await;
    fixture.database.network().set(Network::Refusing).await;
    let began = Instant::now();
    all.extend(timeout(SOON, router.record([1])).await.unwrap());
    let waited = began.elapsed();
    assert!(waited >= bound && waited < 2 * bound, "{waited:?}");
    assert_eq!(router.spend.stats().on_disk_only(), 1);
    let began = Instant::now();
    all.extend(router.record(2..50).await);
    assert!(began.elapsed() < bound / 2, "{:?}", began.elapsed());
    assert_eq!(router.spend.stats().on_disk_only(), 49);
    // It is in the journal: a crash does not lose it.
    let router = fixture.start(router.crash().await).await;
    fixture.network.set(Network::Whole).await;
    fixture.database.network().set(Network::Whole).await;
    router.settle().await;
    fixture.must_be(&all).await;
    // And they are waited for again.
    all.extend(router.record(50..100).await);
    assert_eq!(router.spend.stats().on_disk_only(), 0);
    router.settle().await;
    fixture.must_be(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_costs_milliseconds_and_not_a_seal_interval() {
    let fixture = Fixture::on(On::Sqlite).await;
    let mut plan = with_redis_durability(fixture.plan("a"));
    plan.seal_interval = Duration::from_secs(60);
    let router = fixture.start(plan).await;
    router.record([0]).await;
    let mut waits = Vec::new();
    for n in 1..50 {
        let began = Instant::now();
        router.record([n]).await;
        waits.push(began.elapsed());
    }
    waits.sort();
    println!("median {:?}, longest {:?}", waits[25], waits[48]);
    assert!(waits[25] < Duration::from_secs(1), "{waits:?}");
}
