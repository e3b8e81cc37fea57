//! The journal of a router that never comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::spend::{OpenError, RecoverError, StartError, recover};

use crate::support::{Fixture, On, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_recovered_and_empty_then() {
    let fixture = Fixture::on(On::Postgres).await;
    let mut plan = fixture.plan("dead");
    plan.seal_interval = Duration::from_secs(3_600);
    let router = fixture.start(plan).await;
    let numbers = router.record(0..100).await;
    let plan = router.crash().await;
    let store = fixture.database.store().await;
    let recovered = recover(&plan.dir, store.clone(), SOON).await.unwrap();
    assert_eq!((recovered.found, recovered.committed), (100, 100));
    fixture.must_be(&numbers).await;
    let again = recover(&plan.dir, store, SOON).await.unwrap();
    assert_eq!(again.found, 0);
    fixture.must_be(&numbers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_arrived_by_redis_is_not_added_again() {
    let fixture = Fixture::on(On::Sqlite).await;
    let leader = fixture.leader("leader").await;
    let router = fixture.router("dead").await;
    let numbers = router.record(0..100).await;
    let plan = router.crash().await;
    let store = fixture.database.store().await;
    recover(&plan.dir, store, SOON).await.unwrap();
    leader.record(100..110).await;
    leader.settle().await;
    let all: BTreeSet<u64> = numbers.into_iter().chain(100..110).collect();
    fixture.must_be(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_router_keeps_its_journal() {
    let fixture = Fixture::on(On::Sqlite).await;
    let router = fixture.router("alive").await;
    let store = fixture.database.store().await;
    let refused = recover(&router.plan.dir, store, SOON).await.unwrap_err();
    assert!(
        matches!(
            refused,
            RecoverError::Start(StartError::Journal(OpenError::InUse(_)))
        ),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_none_none_is_made() {
    let fixture = Fixture::on(On::Sqlite).await;
    let empty = tempfile::tempdir().unwrap();
    let store = fixture.database.store().await;
    let missing = recover(empty.path(), store, SOON).await.unwrap_err();
    assert!(matches!(missing, RecoverError::Missing { .. }), "{missing}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
