//! A cluster that gives a slot away while it is used: part of what was sent together is carried out
//! here, part of it is wanted elsewhere, and nothing may be there twice.

use herdsman_multidb::{DatabaseConfig, Error, MultiDb};
use redis::{AsyncCommands, RedisError, RedisResult, pipe};

use crate::support::{Workload, quick};
use herdsman_test_support::redis::Cluster;

/// Both in one slot.
const STAYS: &str = "{t}stays";
const GOES: &str = "{t}goes";

async fn cluster() -> (Cluster, MultiDb) {
    let cluster = Cluster::start(3).await;
    let db = MultiDb::connect(quick([DatabaseConfig::cluster(cluster.urls())])).await;
    (cluster, db.unwrap())
}

fn outcome_unknown(error: &RedisError) {
    assert!(
        matches!(Error::of(error), Some(Error::OutcomeUnknown { .. })),
        "{error:?}"
    );
}

/// The first count is carried out, the second is refused with ASK: that refusal is the whole answer.
#[tokio::test]
async fn a_pipeline_that_meets_a_moving_slot_is_not_applied_twice() {
    let (cluster, db) = cluster().await;
    let mut connection = db.clone();
    let _: () = connection.set(STAYS, 10).await.unwrap();
    let _: () = connection.set(GOES, 20).await.unwrap();
    let moving = cluster.begin_move(STAYS).await;
    moving.migrate(GOES).await;
    let result: RedisResult<(i64, i64)> = pipe()
        .incr(STAYS, 1)
        .incr(GOES, 1)
        .query_async(&mut connection)
        .await;
    outcome_unknown(&result.unwrap_err());
    assert_eq!(moving.old.number(STAYS).await, 11, "once");
    // What may be repeated finds each key where it is, and so does a command alone.
    let read: (i64, i64) = pipe()
        .get(STAYS)
        .get(GOES)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(read, (11, 20));
    assert_eq!(connection.incr::<_, _, i64>(GOES, 1).await.unwrap(), 21);
    moving.migrate(STAYS).await;
    moving.finish().await;
    let counted: (i64, i64) = (
        connection.incr(STAYS, 1).await.unwrap(),
        connection.incr(GOES, 1).await.unwrap(),
    );
    assert_eq!(counted, (12, 22));
    db.close().await;
}

/// One key's slot has gone to another node: its part is refused, the other part is carried out, and a
/// second time would answer that there was less to do.
#[tokio::test]
async fn a_command_over_several_slots_is_not_repeated_for_the_one_that_moved() {
    let (cluster, db) = cluster().await;
    let mut connection = db.clone();
    let keys = [GOES, "{u}other", "{v}third"];
    for key in keys {
        let _: () = connection.set(key, 1).await.unwrap();
    }
    let moving = cluster.begin_move(GOES).await;
    moving.migrate(GOES).await;
    moving.finish().await;
    let result: RedisResult<u64> = connection.del(&keys).await;
    outcome_unknown(&result.unwrap_err());
    // The refusal updated the slots: from now on it is found.
    assert_eq!(connection.del::<_, u64>(GOES).await.unwrap(), 1);
    assert_eq!(connection.exists::<_, u64>(&keys).await.unwrap(), 0);
    db.close().await;
}

/// The node that is named for one part knows nothing of the others.
#[tokio::test]
async fn a_command_over_several_slots_does_not_follow_one_of_them_as_a_whole() {
    let (cluster, db) = cluster().await;
    let mut connection = db.clone();
    let pairs = [(GOES, 1), ("{u}other", 2), ("{v}third", 3)];
    let _: () = connection.mset(&pairs).await.unwrap();
    let moving = cluster.begin_move(GOES).await;
    moving.migrate(GOES).await;
    let result: RedisResult<()> = connection.mset(&pairs).await;
    // It said CROSSSLOT, as though nothing had been written.
    outcome_unknown(&result.unwrap_err());
    // A single key is followed, whatever the command could have named besides.
    assert_eq!(connection.exists::<_, u64>(GOES).await.unwrap(), 1);
    assert_eq!(connection.del::<_, u64>(GOES).await.unwrap(), 1);
    moving.finish().await;
    let _: () = connection.mset(&pairs).await.unwrap();
    let keys = pairs.map(|(key, _)| key);
    let read: Vec<u64> = connection.mget(&keys).await.unwrap();
    assert_eq!(read, [1, 2, 3]);
    db.close().await;
}

/// A transaction is refused as a whole, in words that do not make the driver read the slots anew; and
/// what succeeds in other slots does not help it either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_finds_its_slot_where_it_has_gone() {
    let (cluster, db) = cluster().await;
    let mut connection = db.clone();
    let _: () = connection.set(GOES, 1).await.unwrap();
    let workload = Workload::counting(&db, 8);
    workload.progress(3).await;
    let moving = cluster.begin_move(GOES).await;
    moving.migrate(GOES).await;
    moving.finish().await;
    for expected in 2..5 {
        let (count,): (u64,) = pipe()
            .atomic()
            .incr(GOES, 1)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(count, expected);
    }
    workload.progress(3).await;
    let tally = workload.stop().await;
    for counts in &tally.users {
        counts.check(u64::try_from(cluster.number(&counts.key).await).unwrap());
    }
    db.close().await;
}
