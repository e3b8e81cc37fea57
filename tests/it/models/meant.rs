//! Which servers a call is meant for: labels, servers that drain, and keys that are limited to some.

use http::Method;
use serde_json::{Value, json};

use super::{models_of, named, plan, send};
use crate::support::{Answer, TestRouter};

/// As from elsewhere, with a key that may manage, limited to these servers.
async fn pull(router: &TestRouter, servers: Value, only: &str) -> Answer {
    let made = send(
        router,
        Method::POST,
        "/admin/keys",
        &[("authorization", "Bearer secret")],
        json!({"manage": true, "servers": servers})
            .to_string()
            .into(),
    );
    let made = made.await.whole().await.json();
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    let mut headers = vec![
        ("x-forwarded-for", "10.0.0.7"),
        ("authorization", bearer.as_str()),
    ];
    if !only.is_empty() {
        headers.push(("x-herdsman-endpoints", only));
    }
    let body = json!({"model": "big", "stream": false}).to_string();
    let answer = send(router, Method::POST, "/api/pull", &headers, body.into());
    answer.await.whole().await
}

async fn having(router: &TestRouter) -> Vec<usize> {
    let mut having = Vec::new();
    for server in 0..router.servers.len() {
        if !models_of(router, server).await.is_empty() {
            having.push(server);
        }
    }
    having
}

async fn router() -> TestRouter {
    let labelled = |endpoint: &mut herdsman::config::Endpoint| {
        endpoint.labels = vec!["fast".to_owned()];
    };
    let plan = plan(3).endpoint(1, labelled).endpoint(2, labelled);
    plan.set("access.admin_key=secret").start().await
}

#[tokio::test]
async fn a_label_stands_for_the_servers_that_have_it() {
    let router = router().await;
    let answer = router.post("/api/pull?endpoints=fast", &named("big")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(having(&router).await, [1, 2]);
    router.finish().await;
}

#[tokio::test]
async fn a_key_that_is_limited_to_servers_changes_no_others() {
    let router = router().await;
    for (servers, only, status) in [
        (json!(["gpu-1"]), "gpu-0", 403),
        (json!(["gpu-9"]), "", 403),
        (json!(["gpu-0"]), "fast", 403),
        (json!(["gpu-1"]), "nobody", 400),
    ] {
        let answer = pull(&router, servers.clone(), only).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{servers} {only}: {}",
            answer.text()
        );
    }
    assert!(having(&router).await.is_empty());
    assert_eq!(pull(&router, json!(["gpu-1"]), "fast").await.status, 200);
    assert_eq!(having(&router).await, [1]);
    assert_eq!(
        pull(&router, json!(["gpu-0", "gpu-1"]), "").await.status,
        200
    );
    assert_eq!(having(&router).await, [0, 1]);
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_drains_is_named_and_not_asked() {
    let router = router().await;
    let drained = send(
        &router,
        Method::POST,
        "/admin/endpoints/gpu-1/drain",
        &[("authorization", "Bearer secret")],
        "".into(),
    );
    assert_eq!(drained.await.status, 200);
    let answer = router.post("/api/pull", &named("big")).await;
    assert!(
        answer.text().contains("gpu-1 (draining)"),
        "{}",
        answer.text()
    );
    assert_eq!(having(&router).await, [0, 2]);
    router.finish().await;
}
