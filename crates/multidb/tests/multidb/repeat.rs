//! What is repeated and what is not, with the reply cut off after the command took effect: the case
//! in which hope applies things twice.

use herdsman_multidb::Error;
use redis::{AsyncCommands, RedisError, RedisResult, Script, pipe};

use crate::support::{Fixture, ProxiedServer};
use herdsman_test_support::redis::Plan;
use herdsman_test_support::{Network, Port, TEST_TIMEOUT, eventually};

fn outcome_unknown(error: &RedisError) {
    assert!(
        matches!(Error::of(error), Some(Error::OutcomeUnknown { database, .. }) if &*database.name == "a"),
        "{error:?}"
    );
}

/// The value on both databases together.
async fn everywhere(fixture: &Fixture, key: &str) -> i64 {
    fixture[0].server.number(key).await + fixture[1].server.number(key).await
}

#[tokio::test]
async fn a_count_whose_reply_is_lost_is_not_repeated_and_its_outcome_is_called_unknown() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    fixture[0].network.cut_reply_of("INCRBY", 1);
    let result: RedisResult<u64> = db.incr("n", 1).await;
    outcome_unknown(&result.unwrap_err());
    assert_eq!(everywhere(&fixture, "n").await, 1);
    assert_eq!(fixture.db.metrics().outcomes_unknown, 1);
    // The connection was reset, not the database: it is still there.
    let next: u64 = db.incr("n", 1).await.unwrap();
    assert_eq!(next, 2);
    fixture.finish().await;
}

#[tokio::test]
async fn what_is_marked_idempotent_is_repeated_whatever_it_is() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.idempotent();
    fixture[0].network.cut_reply_of("INCRBY", 1);
    let count: u64 = db.incr("n", 1).await.unwrap();
    assert_eq!(
        count, 2,
        "it was carried out, and then repeated, as was allowed"
    );
    fixture.finish().await;
}

#[tokio::test]
async fn reads_and_plain_writes_are_repeated_without_being_asked() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    fixture[0].network.cut_reply_of("SET", 1);
    let _: () = db.set("key", "value").await.unwrap();
    fixture[0].network.cut_reply_of("GET", 1);
    let value: String = db.get("key").await.unwrap();
    assert_eq!(value, "value");
    assert!(fixture.db.metrics().retries >= 2);
    fixture.finish().await;
}

#[tokio::test]
async fn a_set_with_a_condition_is_a_lock_and_not_repeated() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    fixture[0].network.cut_reply_of("SETNX", 1);
    let result: RedisResult<bool> = db.set_nx("lock", 1).await;
    outcome_unknown(&result.unwrap_err());
    assert_eq!(everywhere(&fixture, "lock").await, 1);
    fixture.finish().await;
}

#[tokio::test]
async fn a_transaction_is_applied_at_most_once() {
    // Ten lost replies in a row are a reason to leave; here they shall stay.
    let fixture = Fixture::with(2, |config| {
        config.consecutive_failures(0).min_num_failures(100)
    })
    .await;
    let mut db = fixture.db.clone();
    for round in 1..=10 {
        fixture[0].network.cut_reply_of("EXEC", 1);
        let transaction: RedisResult<(u64, u64)> = pipe()
            .atomic()
            .incr("n", 1)
            .incr("m", 1)
            .query_async(&mut db)
            .await;
        outcome_unknown(&transaction.unwrap_err());
        assert_eq!(everywhere(&fixture, "n").await, round);
        assert_eq!(everywhere(&fixture, "m").await, round);
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_transaction_of_reads_is_not_repeated_either() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    fixture[0].network.cut_reply_of("EXEC", 1);
    let result: RedisResult<(Option<u64>,)> = pipe().atomic().get("n").query_async(&mut db).await;
    outcome_unknown(&result.unwrap_err());
    fixture.finish().await;
}

#[tokio::test]
async fn a_pipeline_is_repeated_if_each_of_its_commands_may_be() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    fixture[0].network.cut_reply_of("GET", 1);
    let (value,): (String,) = pipe()
        .set("key", "value")
        .ignore()
        .get("key")
        .query_async(&mut db)
        .await
        .unwrap();
    assert_eq!(value, "value");
    fixture[0].network.cut_reply_of("INCRBY", 1);
    let result: RedisResult<(String, u64)> =
        pipe().get("key").incr("n", 1).query_async(&mut db).await;
    outcome_unknown(&result.unwrap_err());
    assert_eq!(everywhere(&fixture, "n").await, 1);
    fixture.finish().await;
}

/// Nor when everything is: what was marked says it of commands.
#[tokio::test]
async fn a_transaction_is_not_repeated_though_everything_is_marked_idempotent() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.idempotent();
    fixture[0].network.cut_reply_of("EXEC", 1);
    let result: RedisResult<(u64,)> = pipe().atomic().incr("n", 1).query_async(&mut db).await;
    outcome_unknown(&result.unwrap_err());
    assert_eq!(everywhere(&fixture, "n").await, 1);
    fixture.finish().await;
}

/// A cursor is the database's that gave it out: another one would answer it, with anything.
#[tokio::test]
async fn an_iteration_that_loses_its_database_ends_with_an_error_and_not_with_another_ones_keys() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    let keys: Vec<_> = (0..500).map(|i| (format!("key:{i}"), i)).collect();
    let _: () = db.mset(&keys).await.unwrap();
    fixture[1].server.run("SET stranger 1").await;
    let mut pages = db.scan::<String>().await.unwrap();
    fixture[0].network.cut_reply_of("SCAN", 1);
    let mut found = 0;
    let error = loop {
        match pages.next_item().await {
            Some(Ok(_)) => found += 1,
            Some(Err(error)) => break error,
            None => panic!("it ended after {found} keys as though they were all"),
        }
    };
    outcome_unknown(&error);
    assert!((1..500).contains(&found), "{found}");
    drop(pages);
    // From the beginning it is a read like any other.
    fixture[0].network.cut_reply_of("SCAN", 1);
    let (_, keys): (u64, Vec<String>) = redis::cmd("SCAN")
        .arg(0)
        .query_async(&mut db)
        .await
        .unwrap();
    assert!(!keys.is_empty());
    fixture.finish().await;
}

#[tokio::test]
async fn a_script_that_writes_is_not_repeated() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let first: u64 = script.key("n").invoke_async(&mut db).await.unwrap();
    assert_eq!(first, 1);
    fixture[0].network.cut_reply_of("EVALSHA", 1);
    let result: RedisResult<u64> = script.key("n").invoke_async(&mut db).await;
    outcome_unknown(&result.unwrap_err());
    assert_eq!(everywhere(&fixture, "n").await, 2);
    fixture.finish().await;
}

/// A server that will not do it says so, which proves that nothing was done: anything may go elsewhere.
/// The checks are as good as switched off: it is the refusal itself that counts.
async fn goes_elsewhere(first: Plan, commands: &[&str]) {
    let servers = vec![
        ProxiedServer::of(first.start().await).await,
        ProxiedServer::start().await,
    ];
    let fixture = Fixture::over(servers, |config| config.health_check_interval(TEST_TIMEOUT)).await;
    let mut db = fixture.db.clone();
    for command in commands {
        fixture[0].server.run(command).await;
    }
    let count: u64 = db.incr("n", 1).await.unwrap();
    assert_eq!((count, fixture.active().as_str()), (1, "b"));
    assert_eq!(fixture[1].server.number("n").await, 1);
    fixture.finish().await;
}

#[tokio::test]
async fn what_a_replica_refuses_is_carried_out_by_the_next_database_once() {
    goes_elsewhere(Plan::new(), &["REPLICAOF 127.0.0.1 1"]).await;
}

#[tokio::test]
async fn what_a_replica_without_its_master_refuses_is_carried_out_by_the_next_database_once() {
    let alone = Plan::new()
        .set("replica-serve-stale-data", "no")
        .set("replica-read-only", "no");
    goes_elsewhere(alone, &["REPLICAOF 127.0.0.1 1"]).await;
}

#[tokio::test]
async fn what_a_master_without_its_replicas_refuses_is_carried_out_by_the_next_database_once() {
    goes_elsewhere(Plan::new(), &["CONFIG SET min-replicas-to-write 1"]).await;
}

#[tokio::test]
async fn what_a_cluster_without_its_slots_refuses_is_carried_out_by_the_next_database_once() {
    let bus = Port::free();
    let empty = Plan::new()
        .set("cluster-enabled", "yes")
        .set("cluster-port", &bus.number().to_string());
    goes_elsewhere(empty, &[]).await;
}

#[tokio::test]
async fn what_a_busy_script_keeps_from_running_is_carried_out_by_the_next_database_once() {
    let servers = ProxiedServer::start_many(2).await;
    let fixture = Fixture::over(servers, |config| config.health_check_interval(TEST_TIMEOUT)).await;
    fixture[0]
        .server
        .run("CONFIG SET busy-reply-threshold 10")
        .await;
    let busy = fixture[0]
        .server
        .ask::<()>("EVAL while(true)do(function()end)()end 0");
    let meanwhile = async {
        eventually("it is busy", async || {
            let answer = fixture[0].server.ask::<()>("GET n").await;
            answer.is_err_and(|error| error.code() == Some("BUSY"))
        })
        .await;
        let count: u64 = fixture.db.clone().incr("n", 1).await.unwrap();
        assert_eq!((count, fixture.active().as_str()), (1, "b"));
        fixture[0].server.run("SCRIPT KILL").await;
    };
    let (killed, ()) = tokio::join!(busy, meanwhile);
    assert!(killed.is_err());
    fixture.finish().await;
}

#[tokio::test]
async fn a_transaction_that_a_replica_refuses_is_carried_out_by_the_next_database_once() {
    let fixture = Fixture::with(2, |config| config.health_check_interval(TEST_TIMEOUT)).await;
    let mut db = fixture.db.clone();
    fixture[0].server.become_replica().await;
    let (n, m): (u64, u64) = pipe()
        .atomic()
        .incr("n", 1)
        .incr("m", 1)
        .query_async(&mut db)
        .await
        .unwrap();
    assert_eq!((n, m), (1, 1));
    assert_eq!(fixture.active(), "b");
    fixture.finish().await;
}

/// The connection is known to be gone before the command is sent.
#[tokio::test]
async fn what_was_never_sent_is_carried_out_by_the_next_database_once() {
    let fixture = Fixture::with(2, |config| config.health_check_interval(TEST_TIMEOUT)).await;
    let mut db = fixture.db.clone();
    fixture[0].network.set(Network::Refusing).await;
    fixture.until_active("b").await;
    let count: u64 = db.incr("n", 1).await.unwrap();
    assert_eq!(count, 1);
    assert_eq!(everywhere(&fixture, "n").await, 1);
    fixture.finish().await;
}
