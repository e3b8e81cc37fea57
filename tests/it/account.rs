//! What needs an account at ollama.com: asked of the one server that has one, and refused without.

use herdsman::config::Kind;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Plan, Reply, Scripted, eventually};

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
    // Nobody says that a cloud is switched off that is not.
    let unknown = json!({"model": "gpt-oss:20b-cloud", "messages": []});
    let answer = router.post("/api/chat", &unknown).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
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
