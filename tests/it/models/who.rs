//! Who may manage models. Requests of this machine are told from others by the headers of a proxy.

use http::Method;
use serde_json::{Value, json};

use super::{models_of, named, plan, send};
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
async fn a_key_that_is_limited_to_some_servers_manages_those() {
    let router = plan(3)
        .endpoint(2, |endpoint| endpoint.labels = vec!["spare".to_owned()])
        .set("access.admin_key=secret")
        .start()
        .await;
    let key = key(
        &router,
        json!({"manage": true, "servers": ["gpu-0", "spare"]}),
    )
    .await;
    let bearer = format!("Bearer {key}");
    let headers = [("x-forwarded-for", "10.0.0.7"), ("authorization", &*bearer)];
    let pull = async |path: &str| {
        let body = named("big").to_string().into();
        let answer = send(&router, Method::POST, path, &headers, body).await;
        answer.whole().await
    };
    let answer = pull("/api/pull").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-2");
    let answer = pull("/api/pull?endpoints=gpu-1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"].as_str()),
        (403, Some("this key may not use server 'gpu-1'"))
    );
    let answer = pull("/api/pull?endpoints=spare").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-2");
    assert!(models_of(&router, 1).await.is_empty());
    // The same for whatever else there is.
    let everywhere = router.post("/api/pull", &named("big")).await;
    assert_eq!(
        everywhere.header("x-herdsman-endpoints").split(',').count(),
        3
    );
    let call = async |method: Method, path: &str, body: Value| {
        let body = body.to_string().into();
        send(&router, method, path, &headers, body)
            .await
            .whole()
            .await
    };
    let copy = json!({"source": "big", "destination": "copied"});
    let answer = call(Method::POST, "/api/copy", copy).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-2");
    let create = json!({"model": "made", "from": "big", "system": "x"});
    let answer = call(Method::POST, "/api/create", create).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-2");
    let answer = call(Method::DELETE, "/api/delete", named("big")).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-2");
    assert_eq!(models_of(&router, 1).await, ["big:latest"]);
    let answer = call(Method::POST, "/api/push", named("big")).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0");
    let blob = "/api/blobs/sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let upload = send(&router, Method::POST, blob, &headers, "x".into()).await;
    assert_eq!(upload.whole().await.status, 201);
    for (server, has) in [(0, 200), (1, 404), (2, 200)] {
        let url = format!("{}{blob}", router.servers[server].url());
        let head = http::Request::head(url).body(http_body_util::Full::default());
        assert_eq!(
            router.request(head.unwrap()).await.status,
            has,
            "gpu-{server}"
        );
    }
    let head = async |query: &str| {
        let path = format!("{blob}{query}");
        let answer = send(&router, Method::HEAD, &path, &headers, "".into()).await;
        answer.status.as_u16()
    };
    assert_eq!((head("").await, head("?endpoints=gpu-1").await), (200, 403));
    router.finish().await;
}

#[tokio::test]
async fn a_key_for_servers_that_are_not_there_manages_none() {
    let router = with_model().set("access.admin_key=secret").start().await;
    let key = key(&router, json!({"manage": true, "servers": ["gpu-9"]})).await;
    let (status, text) = copy(&router, &key, "llama3.2").await;
    assert_eq!(status, 403, "{text}");
    assert!(
        text.contains("on no server that may be used with this key"),
        "{text}"
    );
    router.finish().await;
}

/// The server reads the model that was checked.
#[tokio::test]
async fn a_model_that_is_named_twice_is_the_one_that_is_checked() {
    let router = with_model().set("access.admin_key=secret").start().await;
    let limited = key(&router, json!({"manage": true, "models": ["mine"]})).await;
    let bearer = format!("Bearer {limited}");
    let headers = [("x-forwarded-for", "10.0.0.7"), ("authorization", &*bearer)];
    for body in [
        r#"{"model":"mine","Model":"llama3.2"}"#,
        r#"{"Model":"mine","model":"llama3.2"}"#,
        r#"{"model":"llama3.2","Model":"mine"}"#,
        r#"{"Model":"llama3.2","model":"mine"}"#,
        r#"{"name":"mine","model":"llama3.2","Name":"mine"}"#,
    ] {
        let answer = send(
            &router,
            Method::DELETE,
            "/api/delete",
            &headers,
            body.into(),
        )
        .await;
        let status = answer.whole().await.status.as_u16();
        assert!([403, 404].contains(&status), "{body}: {status}");
        assert_eq!(models_of(&router, 0).await, ["llama3.2:latest"], "{body}");
    }
    let body = r#"{"source":"mine","\u017fource":"llama3.2","destination":"mine"}"#;
    let answer = send(&router, Method::POST, "/api/copy", &headers, body.into()).await;
    assert_eq!(answer.whole().await.status, 403);
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
