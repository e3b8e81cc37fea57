//! Who may see what without a key, and with one; and what clients make up.

use std::collections::BTreeSet;
use std::path::Path;

use herdsman::domain::EntityKind;
use herdsman::store::Store;
use herdsman_simulator::Model;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{Answer, Plan, TEST_TIMEOUT, TestRouter};

async fn send(
    router: &TestRouter,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", router.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = request.body(body.into()).unwrap();
    router.request(request).await.whole().await
}

/// A new key.
async fn key(router: &TestRouter, body: Value) -> String {
    let made = send(router, Method::POST, "/admin/keys", &[], body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

async fn seen(router: &TestRouter, path: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let with = [("authorization", bearer.as_str())];
    let method = if path == "/api/stats" {
        Method::POST
    } else {
        Method::GET
    };
    let body = match path {
        "/api/stats" => json!({"model": "qwen3"}),
        _ => Value::Null,
    };
    let with = if key.is_empty() { &[][..] } else { &with };
    send(router, method, path, with, body).await
}

fn generate(model: &str) -> Value {
    json!({"model": model, "stream": false, "prompt": "hi", "options": {"num_predict": 2}})
}

/// Two servers: one has both models, the other has one of them.
async fn two_models() -> TestRouter {
    Plan::servers(2)
        .server(0, |server| server.models.push(Model::named("qwen3")))
        .server(1, |server| server.models = vec![Model::named("qwen3")])
        .set("access.require_key=true")
        .start()
        .await
}

const CLOSED: [&str; 9] = [
    "/api/tags",
    "/api/ps",
    "/api/ps_details",
    "/v1/models",
    "/v1/models/qwen3",
    "/api/usage",
    "/api/token_counts",
    "/api/stats",
    "/api/config",
];

#[tokio::test]
async fn lists_counts_and_servers_are_for_whoever_has_a_key() {
    let router = two_models().await;
    let any = key(&router, json!({})).await;
    for model in ["llama3.2", "qwen3"] {
        let bearer = format!("Bearer {any}");
        let with = [("authorization", bearer.as_str())];
        let answer = send(
            &router,
            Method::POST,
            "/api/generate",
            &with,
            generate(model),
        )
        .await;
        assert_eq!(answer.status, 200);
    }
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    for path in CLOSED.into_iter().chain(["/api/usage-stream"]) {
        for wrong in ["", "sk-nobody"] {
            let refused = seen(&router, path, wrong).await;
            assert_eq!(refused.status, 401, "{path} {wrong}");
            let shape = &refused.json()["error"];
            assert_eq!(
                shape.is_object(),
                path.starts_with("/v1/"),
                "{path}: {shape}"
            );
        }
    }
    for path in CLOSED {
        assert_eq!(seen(&router, path, &any).await.status, 200, "{path}");
    }
    let config = seen(&router, "/api/config", &any).await.json();
    assert_eq!(config["require_router_api_key"], true);
    for open in [
        "/",
        "/api/version",
        "/api/status",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        assert_eq!(seen(&router, open, "").await.status, 200, "{open}");
    }
    // How many servers there are in which state is no secret; where they are is.
    for wrong in ["", "sk-nobody"] {
        let health = seen(&router, "/health", wrong).await;
        assert_eq!(health.status, 200);
        let expected = json!({"status": "ok", "states": {"ok": 2, "error": 0, "unknown": 0, "drained": 0, "draining": 0}});
        assert_eq!(health.json(), expected);
    }
    let health = seen(&router, "/health", &any).await.json();
    assert_eq!(health["endpoints"].as_object().unwrap().len(), 2);
    router.finish().await;
}

#[tokio::test]
async fn a_key_sees_the_models_it_may_use_and_what_is_about_them() {
    let router = two_models().await;
    let (any, narrow) = (
        key(&router, json!({})).await,
        key(&router, json!({"models": ["llama3.2"]})).await,
    );
    for model in ["llama3.2", "qwen3"] {
        let bearer = format!("Bearer {any}");
        let with = [("authorization", bearer.as_str())];
        let answer = send(
            &router,
            Method::POST,
            "/api/generate",
            &with,
            generate(model),
        )
        .await;
        assert_eq!(answer.status, 200);
    }
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    for path in CLOSED {
        let (all, some) = (
            seen(&router, path, &any).await,
            seen(&router, path, &narrow).await,
        );
        let is_about_qwen = path == "/v1/models/qwen3" || path == "/api/stats";
        if is_about_qwen {
            assert_eq!(
                (all.status.as_u16(), some.status.as_u16()),
                (200, 404),
                "{path}"
            );
            continue;
        }
        assert_eq!(some.status, 200, "{path}");
        assert!(!some.text().contains("qwen3"), "{path}: {}", some.text());
        if path != "/api/config" {
            assert!(all.text().contains("qwen3"), "{path}: {}", all.text());
        }
    }
    for path in ["/api/tags", "/v1/models", "/api/usage", "/api/token_counts"] {
        let some = seen(&router, path, &narrow).await;
        assert!(some.text().contains("llama3.2"), "{path}: {}", some.text());
    }
    let counts = seen(&router, "/api/token_counts", &narrow).await.json();
    let sum = counts["breakdown"][0]["total_tokens"].as_i64();
    assert_eq!(counts["total_tokens"].as_i64(), sum, "of what is shown");
    let config = seen(&router, "/api/config", &narrow).await.json();
    let servers = config["endpoints"].as_array().unwrap();
    assert_eq!(servers.len(), 1, "the other has nothing for this key");
    assert_eq!(servers[0]["name"], "gpu-0");
    let health = seen(&router, "/health", &narrow).await.json();
    assert_eq!(
        health["endpoints"].as_object().unwrap().len(),
        1,
        "{health}"
    );
    assert_eq!(health["endpoints"]["gpu-0"]["models"], 1, "{health}");
    let health = seen(&router, "/health", &any).await.json();
    assert_eq!(health["endpoints"]["gpu-0"]["models"], 2, "{health}");
    assert_eq!(health["endpoints"]["gpu-1"]["models"], 1, "{health}");
    let bearer = format!("Bearer {narrow}");
    let request = Request::get(format!("{}/api/usage-stream", router.url()));
    let request = request
        .header("authorization", bearer)
        .body("".into())
        .unwrap();
    let mut stream = router.request(request).await;
    let first = stream.piece().await.unwrap();
    let first = String::from_utf8_lossy(&first);
    assert!(
        first.contains("llama3.2") && !first.contains("qwen3"),
        "{first}"
    );
    drop(stream);
    router.finish().await;
}

#[tokio::test]
async fn the_admin_key_sees_everything_and_without_required_keys_so_does_everybody() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .set("access.admin_key=root-1")
        .start()
        .await;
    for path in ["/api/tags", "/api/usage", "/api/config"] {
        assert_eq!(seen(&router, path, "").await.status, 401, "{path}");
        assert_eq!(seen(&router, path, "root-1").await.status, 200, "{path}");
    }
    let health = seen(&router, "/health", "root-1").await.json();
    assert!(health["endpoints"]["gpu-0"].is_object());
    router.finish().await;

    let open = Plan::servers(1).start().await;
    let narrow = key(&open, json!({"models": ["qwen3"]})).await;
    for path in ["/api/tags", "/api/usage", "/api/config", "/health"] {
        for any in ["", "ollama"] {
            let answer = seen(&open, path, any).await;
            assert_eq!(answer.status, 200, "{path}");
        }
    }
    let config = seen(&open, "/api/config", "").await.json();
    assert_eq!(config["require_router_api_key"], false);
    // A key that is known counts all the same.
    let tags = seen(&open, "/api/tags", &narrow).await.json();
    assert_eq!(tags["models"], json!([]));
    open.finish().await;
}

#[tokio::test]
async fn admin_calls_of_foreign_pages_are_refused_whatever_they_show_and_wherever_they_come_from() {
    for admin_key in ["", "root-1"] {
        let router = Plan::servers(1)
            .set(&format!("access.admin_key={admin_key}"))
            .set("server.cors_origins=[\"*\", \"https://*.example.com\", \"https://chat.example.com\"]")
            .start()
            .await;
        let own = router.url();
        let bearer = format!("Bearer {admin_key}");
        let asked = async |origin: &str| {
            let with = [("origin", origin), ("authorization", bearer.as_str())];
            send(&router, Method::GET, "/admin/keys", &with, Value::Null)
                .await
                .status
        };
        for foreign in [
            "https://evil.test",
            "http://localhost:3000",
            "null",
            "app://x",
            "https://other.example.com",
            "http://chat.example.com",
        ] {
            assert_eq!(asked(foreign).await, 403, "{foreign} {admin_key}");
        }
        assert_eq!(asked(&own).await, 200, "{own}");
        // One that is written out in the configuration is none.
        assert_eq!(asked("https://chat.example.com").await, 200);
        // A page that had its name resolved to this machine is a page of its own host.
        let rebound = [("host", "evil.test"), ("authorization", bearer.as_str())];
        let rebound = send(&router, Method::GET, "/admin/keys", &rebound, Value::Null).await;
        assert_eq!(rebound.status, 403);
        router.finish().await;
    }
}

/// The names in the database under which anything is booked.
async fn booked(router: &TestRouter, data: &Path, kind: EntityKind) -> BTreeSet<String> {
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    let store = Store::open("", data).await.unwrap();
    let rows = store.spent(kind).await.unwrap();
    rows.into_iter().map(|row| row.entity).collect()
}

#[tokio::test]
async fn models_that_nobody_has_are_one_row_everywhere() {
    let router = Plan::servers(1).start().await;
    let key = key(&router, json!({})).await;
    let bearer = format!("Bearer {key}");
    for n in 0..2 {
        for path in ["/api/generate", "/v1/completions", "/api/show"] {
            let model = format!("made-up-{n}:x");
            let with = [("authorization", bearer.as_str())];
            let answer = send(&router, Method::POST, path, &with, generate(&model)).await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    let store = Store::open("", router.dir.path()).await.unwrap();
    let days = store.daily_spent("0000", "9999", 100).await.unwrap();
    let models: BTreeSet<&str> = days.iter().map(|day| day.model.as_str()).collect();
    assert_eq!(models, BTreeSet::from(["unknown"]));
    let failed: i64 = days.iter().map(|day| day.failed_requests).sum();
    assert_eq!(failed, 2 * 2, "and none is lost");
    let metrics = router.get("/metrics").await;
    assert!(!metrics.text().contains("made-up"), "{}", metrics.text());
    assert!(
        metrics
            .text()
            .contains("model=\"unknown\",path=\"/api/show\",status=\"404\"} 2")
    );
    router.finish().await;
}

#[tokio::test]
async fn end_users_and_tags_beyond_their_number_are_other_after_a_restart_too() {
    let data = tempfile::tempdir().unwrap();
    let plan = || {
        Plan::servers(1)
            .set("access.end_users=3")
            .set(&format!("server.data_dir={}", data.path().display()))
    };
    let ask = async |router: &TestRouter, user: &str| {
        let mut body = generate("llama3.2");
        body["user"] = user.into();
        let answer = router.post("/v1/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let router = plan().start().await;
    let account = json!({"id": "with-account"});
    let made = send(&router, Method::POST, "/admin/end-users", &[], account).await;
    assert_eq!(made.status, 201);
    for n in 0..6 {
        ask(&router, &format!("user-{n}")).await;
    }
    ask(&router, "with-account").await;
    let session = format!(
        "user_{}_account__session_0b2f3c1e-8a57-4f0e-9c55-0d7c1a2b3c4d",
        "a".repeat(64)
    );
    for blob in [
        r#"{"device_id":"1","session_id":"2"}"#,
        "https://app.test/sessions/1",
        &"x".repeat(129),
        &session,
    ] {
        ask(&router, blob).await;
    }
    let expected: BTreeSet<String> = ["user-0", "user-1", "user-2", "with-account", "other"]
        .map(str::to_owned)
        .into();
    let users = booked(&router, data.path(), EntityKind::EndUser).await;
    assert_eq!(users, expected);
    let tagged = [("x-herdsman-tags", "night")];
    send(
        &router,
        Method::POST,
        "/api/generate",
        &tagged,
        generate("llama3.2"),
    )
    .await;
    let tags = booked(&router, data.path(), EntityKind::Tag).await;
    assert_eq!(tags, BTreeSet::from(["night".to_owned()]));
    router.finish().await;

    let again = plan().start().await;
    ask(&again, "user-9").await;
    ask(&again, "user-1").await;
    let users = booked(&again, data.path(), EntityKind::EndUser).await;
    assert_eq!(users, expected, "nobody new");
    again.finish().await;
}

#[tokio::test]
async fn a_key_sees_digests_and_servers_only_of_what_it_may_use() {
    let router = two_models_of_two_digests().await;
    let digests = async |key: &str| seen(&router, "/health", key).await.json()["digests"].clone();
    let any = key(&router, json!({})).await;
    assert_eq!(digests(&any).await.as_object().unwrap().len(), 2);
    let models = key(&router, json!({"models": ["qwen3"]})).await;
    let some = digests(&models).await;
    assert!(some["qwen3:latest"].is_object(), "{some}");
    assert_eq!(some.as_object().unwrap().len(), 1, "{some}");
    // On one server there is nothing to compare.
    let servers = key(&router, json!({"servers": ["gpu-1"]})).await;
    let health = seen(&router, "/health", &servers).await.json();
    assert!(health["digests"].is_null(), "{health}");
    let config = seen(&router, "/api/config", &servers).await.json();
    let shown = config["endpoints"].as_array().unwrap();
    assert_eq!(shown.len(), 1, "{config}");
    assert_eq!(shown[0]["name"], "gpu-1");
    let endpoints = health["endpoints"].as_object().unwrap();
    assert_eq!(endpoints.keys().collect::<Vec<_>>(), ["gpu-1"]);
    router.finish().await;
}

/// Two servers with two models, each of which is another one on either server.
async fn two_models_of_two_digests() -> TestRouter {
    Plan::servers(2)
        .each(|server| server.models.push(Model::named("qwen3")))
        .server(1, |server| {
            for model in &mut server.models {
                model.digest = "b".repeat(64);
            }
        })
        .set("access.require_key=true")
        .start()
        .await
}

#[tokio::test]
async fn a_usage_stream_ends_when_its_key_is_blocked_or_deleted() {
    let router = two_models().await;
    let any = key(&router, json!({})).await;
    for (method, body) in [
        (Method::PATCH, json!({"blocked": true})),
        (Method::DELETE, Value::Null),
    ] {
        let made = send(&router, Method::POST, "/admin/keys", &[], json!({})).await;
        let made = made.json();
        let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
        let request = Request::get(format!("{}/api/usage-stream", router.url()));
        let request = request.header("authorization", bearer.clone());
        let mut stream = router.request(request.body("".into()).unwrap()).await;
        assert_eq!(stream.status, 200);
        stream.piece().await.unwrap();
        let path = format!("/admin/keys/{}", made["id"].as_str().unwrap());
        let changed = send(&router, method.clone(), &path, &[], body).await;
        assert!(changed.status.is_success(), "{}", changed.text());
        let with = [("authorization", bearer.as_str())];
        while send(&router, Method::GET, "/api/usage", &with, Value::Null)
            .await
            .status
            == 200
        {
            tokio::task::yield_now().await;
        }
        // Something to show.
        let bearer = format!("Bearer {any}");
        let with = [("authorization", bearer.as_str())];
        let asked = generate("llama3.2");
        let answer = send(&router, Method::POST, "/api/generate", &with, asked).await;
        assert_eq!(answer.status, 200);
        let rest = tokio::time::timeout(TEST_TIMEOUT, stream.whole()).await;
        let rest = rest.unwrap_or_else(|_| panic!("{method}: it goes on"));
        assert!(!rest.broken);
    }
    router.finish().await;
}
