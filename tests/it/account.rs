//! What needs an account at ollama.com: asked of the one server that has one, and refused without.

use herdsman::config::Kind;
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::support::{Plan, Reply, Scripted, TestRouter, eventually};

const CALLS: [(Method, &str); 7] = [
    (Method::GET, "/api/status"),
    (Method::POST, "/api/me"),
    (Method::POST, "/api/signout"),
    (Method::DELETE, "/api/user/keys/abc"),
    (Method::POST, "/api/experimental/web_search"),
    (Method::POST, "/api/experimental/web_fetch"),
    (Method::GET, "/api/experimental/model-recommendations"),
];

#[tokio::test]
async fn the_server_with_the_account_is_asked_and_its_answer_is_unchanged() {
    let mut server = Scripted::start(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let body = json!({"own": path}).to_string();
        Reply::ok("application/json; charset=own", body).status(402)
    })
    .await;
    let mut own = server.endpoint("own", Kind::Ollama);
    own.cloud = true;
    let router = Plan::servers(2).and(own).start().await;
    eventually("every server has sent its list", || {
        let observed = router.app.fleet().observed();
        observed.iter().all(|server| server.serves())
    })
    .await;
    server.asked();
    for (method, path) in CALLS {
        let body = json!({"query": "x"}).to_string();
        let answer = router.send(method, path, body.clone().into()).await;
        let answer = answer.whole().await;
        assert_eq!(answer.status, 402, "{path}: {}", answer.text());
        assert_eq!(answer.json(), json!({"own": path}));
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=own"
        );
        assert_eq!(answer.header("x-herdsman-endpoint"), "own");
        let asked = server.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].ends_with(&body), "{asked:?}");
    }
    router.finish().await;
}

const SIGN_IN: &str = r#"{"error":"unauthorized","signin_url":"https://ollama.com/connect"}"#;

/// An Ollama with an account, which lists no model of the cloud.
async fn with_account() -> Scripted {
    Scripted::start(|request| {
        let ok = |body: &str| Reply::ok("application/json", body);
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            "/api/show" if request.contains("signed-out") => ok(SIGN_IN).status(401),
            "/api/show" if request.contains("nowhere") => {
                ok(r#"{"error":"model 'nowhere:cloud' not found"}"#).status(404)
            }
            "/api/show" => ok(r#"{"details":{}}"#),
            "/api/chat" | "/api/generate" if request.contains("spent") => {
                ok(r#"{"error":"you have reached your weekly limit"}"#).status(429)
            }
            "/api/chat" => ok(
                r#"{"message":{"role":"assistant","content":"a"},"done":true,"prompt_eval_count":7,"eval_count":3}"#,
            ),
            "/v1/chat/completions" => ok(
                r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
            ),
            _ => ok("{}").status(404),
        }
    })
    .await
}

async fn in_front_of_account(server: &Scripted) -> TestRouter {
    let mut own = server.endpoint("own", Kind::Ollama);
    own.cloud = true;
    let router = Plan::servers(1).and(own).start().await;
    eventually("every server has sent its list", || {
        let observed = router.app.fleet().observed();
        observed.iter().all(|server| server.serves())
    })
    .await;
    router
}

fn chat(model: &str) -> serde_json::Value {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}], "stream": false})
}

#[tokio::test]
async fn a_model_of_the_cloud_that_nobody_lists_is_used_once_the_account_has_it() {
    let mut server = with_account().await;
    let router = in_front_of_account(&server).await;
    server.asked();
    for path in ["/api/chat", "/v1/chat/completions", "/api/chat"] {
        let answer = router.post(path, &chat("Big:120b-cloud")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "own");
        assert_eq!(answer.header("x-herdsman-route"), "loaded");
    }
    assert_eq!(router.counted().await, (21, 9));
    let asked = server.asked();
    let asked_for = |path: &str| asked.iter().filter(|asked| asked.contains(path)).count();
    assert_eq!(asked_for("/api/show"), 1, "{asked:?}");
    assert_eq!(
        asked_for("/api/generate"),
        0,
        "nothing is loaded: {asked:?}"
    );
    // Listed is what servers list.
    assert!(!router.get("/api/tags").await.text().contains("Big"));
    router.finish().await;
}

#[tokio::test]
async fn what_the_cloud_refuses_reaches_the_client_unchanged_and_counts_against_no_server() {
    let server = with_account().await;
    let router = in_front_of_account(&server).await;
    let answer = router.post("/api/chat", &chat("signed-out:cloud")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (401, SIGN_IN));
    let answer = router.post("/api/chat", &chat("nowhere:cloud")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json()["error"], "model 'nowhere:cloud' not found");
    let answer = router.post("/v1/messages", &chat("nowhere:cloud")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json()["error"]["type"], "not_found_error");
    for _ in 0..5 {
        let answer = router.post("/api/chat", &chat("spent:cloud")).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.json()["error"], "you have reached your weekly limit");
    }
    let answer = router.post("/api/chat", &chat("other:cloud")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    router.finish().await;
}

#[tokio::test]
async fn where_keys_are_needed_they_are_needed_for_the_account_too_but_not_by_its_own_machine() {
    let server = Scripted::start(|_| Reply::ok("application/json", "{}")).await;
    let mut own = server.endpoint("own", Kind::Ollama);
    own.cloud = true;
    let router = Plan::servers(0)
        .and(own)
        .set("access.require_key=true")
        .set("access.admin_key=secret")
        .start()
        .await;
    for (method, path) in CALLS {
        let answer = router.send(method, path, Vec::new().into()).await;
        // To sign out is to manage.
        let expected = match path.starts_with("/api/signout") || path.starts_with("/api/user") {
            true => StatusCode::OK,
            false => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(answer.status, expected, "{path}");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_server_with_the_account_that_is_gone_is_an_error() {
    let server = Scripted::start(|_| Reply::ok("application/json", "{}")).await;
    let mut own = server.endpoint("own", Kind::Ollama);
    own.cloud = true;
    drop(server);
    let router = Plan::servers(1).and(own).start().await;
    let answer = router.post("/api/me", &json!({})).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
    router.finish().await;
}

#[tokio::test]
async fn a_server_with_the_account_that_drains_is_not_asked() {
    let mut server = with_account().await;
    let router = in_front_of_account(&server).await;
    let drained = router.post("/admin/endpoints/own/drain", &json!({})).await;
    assert!(drained.status.is_success(), "{}", drained.text());
    server.asked();
    for path in ["/api/me", "/api/experimental/web_search"] {
        let answer = router.post(path, &json!({"query": "x"})).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
    }
    let answer = router.post("/api/chat", &chat("big:cloud")).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
    assert!(server.asked().is_empty());
    router.finish().await;
}

#[tokio::test]
async fn the_server_with_the_account_is_told_which_routers_a_call_has_passed() {
    let mut server = with_account().await;
    let router = in_front_of_account(&server).await;
    server.asked();
    for (path, body) in [("/api/me", json!({})), ("/api/chat", chat("big:cloud"))] {
        let request = Request::post(format!("{}{path}", router.url()))
            .header("x-herdsman-instance", "another")
            .body(body.to_string().into());
        router.request(request.unwrap()).await.whole().await;
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for asked in asked {
        assert!(asked.contains("x-herdsman-instance: another,"), "{asked}");
    }
    router.finish().await;
}

#[tokio::test]
async fn an_alias_may_begin_with_a_model_of_the_cloud() {
    let server = with_account().await;
    let mut own = server.endpoint("own", Kind::Ollama);
    own.cloud = true;
    let aliases = r#"alias=[{ name = "best", models = ["big:cloud", "llama3.2"] }, { name = "next", models = ["nowhere:cloud", "llama3.2"] }]"#;
    let router = Plan::servers(0).and(own).set(aliases).start().await;
    eventually("the server has sent its list", || {
        let observed = router.app.fleet().observed();
        observed.iter().all(|server| server.serves())
    })
    .await;
    for (alias, model) in [("best", "big:cloud"), ("next", "llama3.2")] {
        let answer = router.post("/api/chat", &chat(alias)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-model"), model);
    }
    router.finish().await;
}
