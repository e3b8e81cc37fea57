//! Servers that do not have what they are asked for.

use herdsman::config::Kind;

use super::{CHAT, COMPLETION, chat, in_front_of, is_listed};
use crate::support::{Plan, Reply, Scripted};

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
            Scripted::start(move |_| Reply::ok("text/plain", "no").status(status)).await;
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
        assert_eq!((answer.status.as_u16(), answer.text()), (501, "no"));
        assert_eq!(server.asked().len(), 1);
    }
    router.finish().await;
}

#[tokio::test]
async fn where_no_server_has_the_api_the_server_says_so_each_time() {
    let mut server = Scripted::start(|_| Reply::ok("text/plain", "no such path").status(404)).await;
    let router = in_front_of(&server, Kind::OpenAi).await;
    for _ in 0..3 {
        let answer = router.post("/v1/chat/completions", &chat(false)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (404, "no such path")
        );
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
