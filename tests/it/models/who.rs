//! Who may manage models. Requests of this machine are told from others by the headers of a proxy.

use http::Method;
use serde_json::{Value, json};

use super::{named, plan, send};
use crate::support::TestRouter;

/// As from elsewhere, with this key.
async fn copy(router: &TestRouter, key: &str, source: &str) -> (u16, String) {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("x-forwarded-for", "10.0.0.7")];
    if !key.is_empty() {
        headers.push(("authorization", bearer.as_str()));
    }
    let body = json!({"source": source, "destination": "copied"}).to_string();
    let answer = send(router, Method::POST, "/api/copy", &headers, body.into()).await;
    let answer = answer.whole().await;
    (answer.status.as_u16(), answer.text().to_owned())
}

async fn key(router: &TestRouter, body: Value) -> String {
    let answer = send(
        router,
        Method::POST,
        "/admin/keys",
        &[("authorization", "Bearer secret")],
        body.to_string().into(),
    );
    let answer = answer.await.whole().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["key"].as_str().unwrap().to_owned()
}

fn with_model() -> crate::support::Plan {
    plan(1).each(|server| server.models = vec![herdsman_simulator::Model::named("llama3.2")])
}

#[tokio::test]
async fn by_default_this_machine_the_admin_key_and_keys_that_say_so_may() {
    let router = with_model().set("access.admin_key=secret").start().await;
    let plain = key(&router, json!({})).await;
    let manager = key(&router, json!({"manage": true})).await;
    let limited = key(
        &router,
        json!({"manage": true, "models": ["llama3.2", "copied"]}),
    )
    .await;
    let body = json!({"source": "llama3.2", "destination": "here"});
    assert_eq!(
        router.post("/api/copy", &body).await.status,
        200,
        "this machine"
    );
    for (key, status) in [
        ("", 403),
        ("nonsense", 403),
        (&*plain, 403),
        (&*manager, 200),
        ("secret", 200),
    ] {
        let (got, text) = copy(&router, key, "llama3.2").await;
        assert_eq!(got, status, "{key}: {text}");
        assert!(got == 200 || text.contains("access.management"), "{text}");
    }
    assert_eq!(copy(&router, &limited, "llama3.2").await.0, 200);
    let (status, text) = copy(&router, &limited, "here").await;
    assert_eq!(status, 403, "{text}");
    // Neither does it learn of blobs, nor start anything.
    let elsewhere = [("x-forwarded-for", "10.0.0.7")];
    let blob = format!("/api/blobs/sha256:{}", "0".repeat(64));
    for (method, path) in [
        (Method::HEAD, &*blob),
        (Method::POST, &*blob),
        (Method::POST, "/api/pull"),
        (Method::POST, "/api/push"),
        (Method::POST, "/api/create"),
        (Method::DELETE, "/api/delete"),
    ] {
        let body = named("llama3.2").to_string().into();
        let answer = send(&router, method, path, &elsewhere, body).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    router.finish().await;
}

#[tokio::test]
async fn open_means_whoever_may_use_the_models_and_off_means_nobody() {
    let router = with_model().set("access.management=open").start().await;
    assert_eq!(copy(&router, "", "llama3.2").await.0, 200);
    router.finish().await;

    let router = with_model()
        .set("access.management=open")
        .set("access.require_key=true")
        .set("access.admin_key=secret")
        .start()
        .await;
    let plain = key(&router, json!({})).await;
    assert_eq!(copy(&router, "", "llama3.2").await.0, 401);
    assert_eq!(copy(&router, &plain, "llama3.2").await.0, 200);
    router.finish().await;

    let router = with_model().set("access.management=off").start().await;
    let body = json!({"source": "llama3.2", "destination": "copied"});
    let answer = router.post("/api/copy", &body).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(
        router.post("/admin/pulls", &named("llama3.2")).await.status,
        403
    );
    // Unloading is inference.
    let unload = json!({"model": "llama3.2", "keep_alive": 0});
    assert_eq!(router.post("/api/generate", &unload).await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn a_page_of_another_site_is_not_this_machine() {
    let router = with_model().start().await;
    let body = named("llama3.2").to_string();
    let headers = [("origin", "http://localhost:3000")];
    let answer = send(
        &router,
        Method::DELETE,
        "/api/delete",
        &headers,
        body.into(),
    )
    .await;
    assert_eq!(answer.status, 403);
    router.finish().await;
}
