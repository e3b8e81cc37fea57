//! Servers that do not have what they are asked for.

use herdsman::config::Kind;

use super::{
    CHAT, COMPLETION, beside_another, beside_another_of, chat, failing, in_front_of, is_listed,
};
use crate::support::{Plan, Reply, Scripted, eventually};

/// An error of the server's own.
const OWN: &str = r#"{"error":{"message":"no such path"}}"#;
/// The same of an Ollama's.
const OLLAMAS: &str = r#"{"error":"no such path"}"#;

/// A server that refuses, and one that does not have to be asked first.
async fn both(refusing: &Scripted, serving: &Scripted) -> crate::support::TestRouter {
    let mut first = refusing.endpoint("refusing", Kind::OpenAi);
    first.priority = -1;
    let router = Plan::servers(0)
        .and(first)
        .and(serving.endpoint("serving", Kind::OpenAi))
        .start()
        .await;
    is_listed(&router).await;
    router
}

#[tokio::test]
async fn a_server_without_the_api_is_not_asked_for_it_by_every_request() {
    for status in [404, 405, 501] {
        let mut refusing =
            Scripted::start(move |_| Reply::ok("application/json", OWN).status(status)).await;
        let mut serving = Scripted::start(|_| Reply::ok("application/json", COMPLETION)).await;
        let router = both(&refusing, &serving).await;
        for _ in 0..5 {
            let answer = router.post("/v1/chat/completions", &chat(false)).await;
            assert_eq!(answer.status, 200, "{status}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "serving");
        }
        assert_eq!(refusing.asked().len(), 1, "{status}");
        assert_eq!(serving.asked().len(), 5, "{status}");
        // Another API is another matter.
        router.post("/v1/completions", &chat(false)).await;
        assert_eq!(refusing.asked().len(), 1, "{status}");
        router.finish().await;
    }
}

/// A request that neither can serve says nothing about what they have.
#[tokio::test]
async fn a_501_that_two_servers_answer_alike_is_the_requests_and_nothing_is_remembered() {
    let said = r#"{"error":{"message":"images are not supported","code":501}}"#;
    let refuses = move |_: &str| Reply::ok("application/json", said).status(501);
    let (mut one, mut other) = (
        Scripted::start(refuses).await,
        Scripted::start(refuses).await,
    );
    let router = both(&one, &other).await;
    for _ in 0..3 {
        let answer = router.post("/v1/chat/completions", &chat(false)).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (501, said));
        assert_eq!((one.asked().len(), other.asked().len()), (1, 1));
        let observed = router.app.fleet().observed();
        assert!(observed.iter().all(|server| server.evidence.is_empty()));
    }
    router.finish().await;
}

#[tokio::test]
async fn a_501_of_a_server_that_is_alone_is_not_remembered() {
    let mut server = Scripted::start(|_| Reply::ok("text/plain", "no").status(501)).await;
    let router = in_front_of(&server, Kind::OpenAi).await;
    for _ in 0..2 {
        let answer = router.post("/v1/chat/completions", &chat(false)).await;
        assert_eq!(answer.status, 501);
        assert_eq!(answer.json()["error"]["message"], "no");
        assert_eq!(server.asked().len(), 1);
    }
    router.finish().await;
}

#[tokio::test]
async fn where_no_server_has_the_api_the_server_says_so_each_time() {
    let mut server = Scripted::start(|_| Reply::ok("application/json", OWN).status(404)).await;
    let router = in_front_of(&server, Kind::OpenAi).await;
    for _ in 0..3 {
        let answer = router.post("/v1/chat/completions", &chat(false)).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (404, OWN));
        assert_eq!(server.asked().len(), 1);
    }
    router.finish().await;
}

#[tokio::test]
async fn a_refusal_that_is_about_something_else_reaches_the_client_at_once() {
    let said = r#"{"error":{"message":"messages must not be empty"}}"#;
    let mut server =
        Scripted::start(move |_| Reply::ok("application/json", said).status(400)).await;
    let router = in_front_of(&server, Kind::OpenAi).await;
    let answer = router.post("/v1/chat/completions", &chat(true)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (400, said));
    assert_eq!(server.asked().len(), 1);
    router.finish().await;
    let server = Scripted::start(|_| Reply::ok("application/json", CHAT)).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    assert_eq!(router.post("/api/chat", &chat(false)).await.text(), CHAT);
    router.finish().await;
}

/// It is known of this server that it has the model in memory: its slots are free at once.
async fn warm(router: &crate::support::TestRouter, endpoint: &str) {
    let request = http::Request::post(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", endpoint)
        .body(chat(false).to_string().into())
        .unwrap();
    router.request(request).await.whole().await;
    eventually("it is known what is loaded", || {
        let observed = router.app.fleet().observed();
        let mut servers = observed.iter();
        servers.any(|server| &*server.id.name == endpoint && !server.loaded.is_empty())
    })
    .await;
}

#[tokio::test]
async fn a_404_that_is_not_the_servers_own_reaches_no_client_and_is_said_in_health() {
    for said in [
        "404 page not found at internal",
        r#"{"detail":"internal"}"#,
        "<p>internal</p>",
    ] {
        let server = Scripted::start(move |_| Reply::ok("text/plain", said).status(404)).await;
        let router = in_front_of(&server, Kind::OpenAi).await;
        let answer = router.post("/v1/chat/completions", &chat(false)).await;
        assert_eq!(answer.status, 502, "{said}: {}", answer.text());
        assert!(!answer.text().contains("internal"), "{}", answer.text());
        eventually("health says so", || {
            let reason = router.app.fleet().observed()[0].reason.clone();
            reason.is_some_and(|reason| reason.contains("refuses the router's requests"))
        })
        .await;
        router.finish().await;
    }
}

/// One that says so of every request would else take what others could serve.
#[tokio::test]
async fn a_refusal_that_another_server_does_not_share_counts_against_the_one_that_refuses() {
    for status in [400, 413, 422] {
        for (kind, path, streamed) in [
            (Kind::Ollama, "/api/chat", false),
            (Kind::Ollama, "/api/chat", true),
            (Kind::OpenAi, "/v1/chat/completions", false),
            (Kind::OpenAi, "/v1/chat/completions", true),
        ] {
            let mut server =
                Scripted::start(move |_| Reply::ok("application/json", OWN).status(status)).await;
            let router = beside_another_of(&server, kind).await;
            warm(&router, "gpu-0").await;
            let answer = router.post(path, &chat(streamed)).await;
            assert_eq!(answer.status, 200, "{status} {path}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
            eventually("it is on record", || failing(&router) == ["status"]).await;
            router.post(path, &chat(streamed)).await;
            assert_eq!(server.asked().len(), 1, "{status} {path}");
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn a_refusal_that_two_servers_share_is_the_requests_in_whatever_words() {
    let other = r#"{"error":"messages must not be empty"}"#;
    for (status, second, words) in [(400, 400, OLLAMAS), (400, 422, other), (413, 413, OLLAMAS)] {
        let refuse = |status, said: &'static str| {
            move |_: &str| Reply::ok("application/json", said).status(status)
        };
        let mut one = Scripted::start(refuse(status, OLLAMAS)).await;
        let mut two = Scripted::start(refuse(second, words)).await;
        let mut three = Scripted::start(refuse(second, words)).await;
        let mut first = one.endpoint("one", Kind::Ollama);
        first.priority = -1;
        let router = Plan::servers(0)
            .and(first)
            .and(two.endpoint("two", Kind::Ollama))
            .and(three.endpoint("three", Kind::Ollama))
            .start()
            .await;
        is_listed(&router).await;
        for endpoint in ["one", "two", "three"] {
            warm(&router, endpoint).await;
        }
        // What was asked until now does not count.
        let _ = [one.asked(), two.asked(), three.asked()];
        for _ in 0..3 {
            let answer = router.post("/api/chat", &chat(false)).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (second, words));
            assert_eq!(one.asked().len(), 1);
            assert_eq!(two.asked().len() + three.asked().len(), 1);
            assert!(failing(&router).is_empty());
        }
        router.finish().await;
    }
}

#[tokio::test]
async fn a_refusal_stands_where_the_other_server_does_no_better() {
    let one = Scripted::start(|_| Reply::ok("application/json", OLLAMAS).status(400)).await;
    let mut two = Scripted::start(|_| Reply::ok("application/json", OLLAMAS).status(500)).await;
    let mut first = one.endpoint("one", Kind::Ollama);
    first.priority = -1;
    let router = Plan::servers(0)
        .and(first)
        .and(two.endpoint("two", Kind::Ollama))
        .start()
        .await;
    is_listed(&router).await;
    warm(&router, "two").await;
    let answer = router.post("/api/chat", &chat(false)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (400, OLLAMAS));
    assert!(failing(&router).is_empty());
    assert_eq!(two.asked().len(), 2);
    router.finish().await;
}

#[tokio::test]
async fn a_status_that_http_does_not_have_is_a_failed_try() {
    for status in [101, 600, 999] {
        for framing in [
            crate::support::Framing::Length,
            crate::support::Framing::Close,
        ] {
            let server = Scripted::start(move |_| {
                Reply::ok("text/plain", "").framed(framing).status(status)
            })
            .await;
            let router = beside_another(&server).await;
            let answer = router.post("/api/chat", &chat(false)).await;
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{status}");
            eventually("it is on record", || failing(&router) == ["broken"]).await;
            router.finish().await;
        }
    }
}
