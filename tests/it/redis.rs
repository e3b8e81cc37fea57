//! A router with Redis databases: their state as it is shown, and the traffic over them.

use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Plan, TEST_TIMEOUT, TestRouter};
use herdsman_test_support::Port;
use herdsman_test_support::redis::Server;

fn chat() -> Value {
    json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "hi there"}]})
}

/// `herdsman … --json` against this router.
async fn herdsman(router: &TestRouter, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.args(arguments).arg("--json").env_clear();
    command.env("HERDSMAN_ADDRESS", router.url());
    let ended = command.output().await.unwrap();
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

fn active(shown: &Value) -> u64 {
    shown["active"].as_u64().unwrap()
}

/// Asks until it holds: the databases are checked five times a second.
async fn until(router: &TestRouter, holds: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let shown = router.get("/admin/redis").await.json();
            if holds(&shown) {
                return shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_shown_switched_and_weighted() {
    let (first, second) = (Server::start().await, Server::start().await);
    let (one, two) = (first.url(), second.url());
    let router = Plan::servers(1).redis([&*one, &*two]).start().await;
    let shown = until(&router, |shown| shown["active"].is_u64()).await;
    assert_eq!(shown["databases"][0]["active"], true);
    assert_eq!(shown["databases"][1]["circuit"], "closed");

    let moved = herdsman(&router, &["redis", "failover", "2"]).await;
    assert_eq!(active(&moved), 2);
    let weighed = herdsman(&router, &["redis", "weight", "1", "9"]).await;
    assert_eq!(weighed["databases"][0]["weight"], 9.0);
    assert_eq!(
        herdsman(&router, &["redis", "status"]).await["databases"][1]["id"],
        2
    );

    let metrics = router.get("/metrics").await;
    let metrics = metrics.text();
    assert!(metrics.contains("reason=\"manual\"} 1"), "{metrics}");

    let unknown = router
        .send(Method::POST, "/admin/redis/7/active", "{}".into())
        .await;
    assert_eq!(unknown.whole().await.status, 404);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_arrive_when_the_active_database_is_killed() {
    let (first, second) = (Server::start().await, Server::start().await);
    let (one, two) = (first.url(), second.url());
    let router = Plan::servers(1).redis([&*one, &*two]).start().await;
    until(&router, |shown| shown["active"] == 1).await;
    for _ in 0..3 {
        assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    }
    first.kill();
    for _ in 0..3 {
        assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    }
    until(&router, |shown| shown["active"] == 2).await;
    assert_eq!(router.counted().await.1, 6 * 8);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_serves_and_counts_while_no_redis_answers() {
    let unused = Port::free();
    let url = format!("redis://127.0.0.1:{}", unused.number());
    let router = Plan::servers(1).redis([&*url]).start().await;
    assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    assert_eq!(router.counted().await.1, 8);
    assert_eq!(
        router.get("/admin/redis").await.json()["active"],
        Value::Null
    );
    router.finish().await;
}

#[tokio::test]
async fn without_redis_there_is_nothing_to_show() {
    let router = Plan::servers(1).start().await;
    assert_eq!(router.get("/admin/redis").await.status, 404);
    router.finish().await;
}
