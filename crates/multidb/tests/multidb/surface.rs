//! The client is a connection like any other: what is written for one works unchanged.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use herdsman_multidb::{Error, Pinned};
use redis::aio::ConnectionLike;
use redis::aio::transaction_async;
use redis::{AsyncCommands, RedisResult, Script, cmd, pipe};

use crate::support::{Fault, Fixture};
use herdsman_test_support::eventually;

#[tokio::test]
async fn commands_pipelines_and_scripts_work_before_and_after_a_failover() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for active in ["a", "b"] {
        fixture.until_active(active).await;
        let _: () = db.set("key", active).await.unwrap();
        let value: String = db.get("key").await.unwrap();
        assert_eq!(value, active);
        let (n, m): (u64, u64) = pipe()
            .atomic()
            .incr("n", 1)
            .incr("m", 2)
            .query_async(&mut db)
            .await
            .unwrap();
        assert_eq!((n, m), (1, 2), "each database counts for itself");
        // The new database does not know the script; the caller does not notice.
        let sum: u64 = script.key("s").arg(7).invoke_async(&mut db).await.unwrap();
        assert_eq!(sum, 7);
        fixture[0].server.kill();
    }
    fixture.finish().await;
}

/// Generic code asks for no more than this.
async fn length<C: ConnectionLike + Send>(connection: &mut C) -> RedisResult<u64> {
    cmd("DBSIZE").query_async(connection).await
}

#[tokio::test]
async fn it_goes_wherever_a_connection_goes() {
    let fixture = Fixture::of(1).await;
    let mut db = fixture.db.clone();
    let _: () = db.set("key", 1).await.unwrap();
    assert_eq!(length(&mut db).await.unwrap(), 1);
    assert_eq!(length(&mut db.idempotent()).await.unwrap(), 1);
    assert_eq!(
        length(&mut db.pin_active().await.unwrap()).await.unwrap(),
        1
    );
    assert_eq!(db.get_db(), 0);
    fixture.finish().await;
}

/// The answer of the database is the caller's, whatever it says about his data.
#[tokio::test]
async fn errors_of_the_data_reach_the_caller_and_are_no_fault_of_the_database() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    let _: () = db.set("text", "x").await.unwrap();
    for _ in 0..50 {
        let result: RedisResult<u64> = db.lpush("text", 1).await;
        assert_eq!(result.unwrap_err().code(), Some("WRONGTYPE"));
        let result: RedisResult<u64> = cmd("NOSUCHCOMMAND").query_async(&mut db).await;
        assert!(result.is_err());
    }
    assert_eq!(fixture.active(), "a");
    assert_eq!(fixture.db.status().active().unwrap().failures, 0);
    fixture.finish().await;
}

#[tokio::test]
async fn what_changes_or_occupies_a_connection_is_refused_and_says_what_to_use() {
    let fixture = Fixture::of(1).await;
    let mut db = fixture.db.clone();
    for words in [
        "SUBSCRIBE x",
        "PSUBSCRIBE x",
        "SELECT 1",
        "AUTH x",
        "HELLO 3",
        "MULTI",
        "EXEC",
        "WATCH x",
        "MONITOR",
        "CLIENT REPLY OFF",
        "RESET",
        "BLPOP x 0",
        "XREAD BLOCK 0 STREAMS x 0",
    ] {
        let mut words = words.split(' ');
        let mut command = cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let error = command.query_async::<()>(&mut db).await.unwrap_err();
        assert!(
            matches!(Error::of(&error), Some(Error::Unsupported { .. })),
            "{error:?}"
        );
    }
    assert!(fixture.db.metrics().unsupported >= 13);
    let _: () = cmd("PING").query_async(&mut db).await.unwrap();
    fixture.finish().await;
}

#[tokio::test]
async fn a_blocking_command_waits_on_a_pinned_connection_longer_than_a_response_may_take() {
    let fixture = Fixture::with(1, |config| {
        config.response_timeout(Duration::from_millis(500))
    })
    .await;
    let mut pinned = fixture.db.pin_active().await.unwrap();
    let mut db = fixture.db.clone();
    let wait = async {
        let popped: Option<(String, String)> = pinned.blpop("list", 20.0).await?;
        Ok::<_, redis::RedisError>(popped)
    };
    let push = async {
        eventually("a command waits", async || {
            fixture[0].server.info("blocked_clients").await.as_deref() == Some("1")
        })
        .await;
        // Longer than the response timeout.
        tokio::time::sleep(Duration::from_secs(1)).await;
        db.lpush::<_, _, ()>("list", "x").await
    };
    let (popped, pushed) = tokio::join!(wait, push);
    pushed.unwrap();
    assert_eq!(popped.unwrap(), Some(("list".to_owned(), "x".to_owned())));
    fixture.finish().await;
}

/// A WATCH means nothing on another database, so a pinned connection fails rather than moves.
#[tokio::test]
async fn a_pinned_connection_stays_with_its_database_and_fails_with_it() {
    let fixture = Fixture::of(2).await;
    let mut pinned = fixture.db.pin_active().await.unwrap();
    assert_eq!(&*pinned.database().name, "a");
    fixture
        .db
        .force_active_database(fixture.id("b"))
        .await
        .unwrap();
    let _: () = pinned.set("where", "here").await.unwrap();
    let found: String = fixture[0].server.ask("GET where").await.unwrap();
    assert_eq!(found, "here");
    Fault::Kill.inject(&fixture[0]).await;
    let result: RedisResult<()> = pinned.set("where", "there").await;
    assert!(result.is_err());
    let found: Option<String> = fixture[1].server.ask("GET where").await.unwrap();
    assert_eq!(found, None);
    assert_eq!(
        &*fixture.db.pin_active().await.unwrap().database().name,
        "b"
    );
    fixture.finish().await;
}

/// Reads, then writes what follows from it, unless another client wrote in between.
async fn doubled<'a>(
    connection: Pinned,
    key: &str,
    mut disturb: impl FnMut() -> BoxFuture<'a, ()>,
) -> RedisResult<i64> {
    transaction_async(connection, &[key], |mut connection, mut pipeline| {
        let disturbance = disturb();
        async move {
            let value: i64 = connection.get(key).await?;
            disturbance.await;
            let done: Option<(i64,)> = pipeline
                .set(key, value * 2)
                .ignore()
                .get(key)
                .query_async(&mut connection)
                .await?;
            Ok(done.map(|(value,)| value))
        }
    })
    .await
}

#[tokio::test]
async fn a_watched_transaction_begins_again_when_somebody_wrote_meanwhile() {
    let fixture = Fixture::of(2).await;
    let mut db = fixture.db.clone();
    // Names of options are keys like any other.
    for key in ["n", "shard_hint", "watch_delay", "value_from_callable"] {
        let _: () = db.set(key, 1).await.unwrap();
        let mut rivals = 3;
        let pinned = fixture.db.pin_active().await.unwrap();
        let server = &fixture[0].server;
        let result = doubled(pinned, key, || {
            let disturbed = rivals > 0;
            rivals -= i32::from(disturbed);
            async move {
                if disturbed {
                    server.run(&format!("INCRBY {key} 10")).await;
                }
            }
            .boxed()
        })
        .await;
        assert_eq!(result.unwrap(), 62, "(1 + 3 · 10) · 2");
        assert_eq!(fixture[0].server.number(key).await, 62);
    }
    fixture.finish().await;
}

/// What was watched on one database means nothing on another: the transaction fails, and has had no
/// effect on either, or is said to be unknown.
#[tokio::test]
async fn a_watched_transaction_whose_database_goes_is_carried_out_nowhere_else() {
    let fixture = Fixture::of(2).await;
    let _: () = fixture.db.clone().set("n", 1).await.unwrap();
    let pinned = fixture.db.pin_active().await.unwrap();
    let result = doubled(pinned, "n", || async { fixture[0].server.kill() }.boxed()).await;
    assert!(result.is_err(), "{result:?}");
    fixture.until_active("b").await;
    assert_eq!(fixture[1].server.number("n").await, 0);
    fixture[0].server.restart().await;
    assert_eq!(fixture[0].server.number("n").await, 1);
    fixture.finish().await;

    let fixture = Fixture::of(2).await;
    let _: () = fixture.db.clone().set("n", 1).await.unwrap();
    let pinned = fixture.db.pin_active().await.unwrap();
    fixture[0].network.cut_reply_of("EXEC", 1);
    let error = doubled(pinned, "n", || async {}.boxed()).await.unwrap_err();
    assert!(
        matches!(Error::of(&error), Some(Error::OutcomeUnknown { .. })),
        "{error:?}"
    );
    assert_eq!(fixture[0].server.number("n").await, 2, "once");
    fixture.finish().await;
}
