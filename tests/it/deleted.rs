//! Accounts that are deleted while one of their requests runs (`L7`).

use std::time::Duration;

use herdsman::domain::EntityKind;
use herdsman::store::Store;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Plan, TEST_TIMEOUT, TestRouter};

async fn made(router: &TestRouter, path: &str, body: Value) -> Value {
    let answer = router.post(path, &body).await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    answer.json()
}

async fn delete(router: &TestRouter, path: &str) {
    let answer = router.send(Method::DELETE, path, "".into()).await;
    let answer = answer.whole().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(router.get(path).await.status, 404, "{path}");
}

/// The accounts that were payers when it began are charged, each by its name, though it is deleted.
#[tokio::test]
async fn l7_who_is_deleted_while_its_request_runs_is_charged_all_the_same() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 50;
            server.decode_interval = Duration::from_millis(20);
        })
        .set("price=[{ model = \"llama3.2\", output = 1.0 }]")
        .start()
        .await;
    made(&router, "/admin/users", json!({"id": "ann"})).await;
    made(&router, "/admin/teams", json!({"id": "blue"})).await;
    let key = made(
        &router,
        "/admin/keys",
        json!({"user": "ann", "team": "blue"}),
    )
    .await;
    let id = key["id"].as_str().unwrap();

    let chat = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]});
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header(
            "authorization",
            format!("Bearer {}", key["key"].as_str().unwrap()),
        )
        .body(Full::new(chat.to_string().into()))
        .unwrap();
    let mut answer = router.request(request).await;
    assert!(answer.piece().await.is_some());
    for path in [
        &format!("/admin/keys/{id}"),
        "/admin/users/ann",
        "/admin/teams/blue",
    ] {
        delete(&router, path).await;
    }
    assert_eq!(router.in_flight(), 1, "it runs");
    while answer.piece().await.is_some() {}

    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    let store = Store::open("", router.dir.path()).await.unwrap();
    let payers = [
        (EntityKind::Key, id),
        (EntityKind::User, "ann"),
        (EntityKind::Team, "blue"),
    ];
    for (kind, entity) in payers {
        let rows = store.spent(kind).await.unwrap();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (&*row.entity, row.spend_nano_usd, row.requests))
            .collect();
        assert_eq!(rows, [(entity, 50_000, 1)], "{kind:?}");
    }
    router.finish().await;
}
