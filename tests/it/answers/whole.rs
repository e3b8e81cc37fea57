//! Answers that are not streamed and not whole.

use herdsman::config::Kind;
use herdsman_simulator::Fault;
use serde_json::json;

use super::{CHAT, COMPLETION, LINE, beside_another, chat, in_front_of};
use crate::support::{Framing, Plan, Reply, Scripted};

/// Every way not to be whole.
fn broken(whole: &str) -> Vec<Reply> {
    let json = |body: &str| Reply::ok("application/json", body);
    let half = &whole[..whole.len() / 2];
    vec![
        json(whole).framed(Framing::Nothing),
        json("").framed(Framing::Length),
        json("").framed(Framing::Chunked),
        json("").framed(Framing::Close),
        json(" \n").framed(Framing::Length),
        json("").framed(Framing::Length).status(204),
        json("").framed(Framing::Short),
        json("").framed(Framing::ChunkedCut),
        json(whole).framed(Framing::Short),
        json(whole).framed(Framing::ChunkedCut),
        json(half).framed(Framing::Short),
        json(half).framed(Framing::ChunkedCut),
        json(half).framed(Framing::Close),
        // Whole by HTTP, and no whole object.
        json(half).framed(Framing::Length),
        json(half).framed(Framing::Chunked),
        Reply::ok("text/html", "<html>gateway</html>").framed(Framing::Length),
        Reply::ok("text/html", "<style>p { margin: 0 }</style>").framed(Framing::Length),
        json("upstream said: {}").framed(Framing::Chunked),
    ]
}

#[tokio::test]
async fn an_answer_that_is_not_whole_is_retried_elsewhere() {
    let paths = [("/api/chat", CHAT), ("/v1/chat/completions", COMPLETION)];
    for (path, whole) in paths {
        for reply in broken(whole) {
            let case = format!("{path} {reply:?}");
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = beside_another(&server).await;
            let answer = router.post(path, &chat(false)).await;
            assert_eq!(answer.status, 200, "{case}: {}", answer.text());
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{case}");
            assert_eq!(answer.header("x-herdsman-attempts"), "2", "{case}");
            assert!(answer.json().is_object() && !answer.broken, "{case}");
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_no_server_gives_whole_is_a_502_in_the_dialect_of_the_client() {
    let paths = [("/api/chat", CHAT), ("/v1/chat/completions", COMPLETION)];
    for (path, whole) in paths {
        for reply in broken(whole) {
            let case = format!("{path} {reply:?}");
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&server, Kind::Ollama).await;
            let answer = router.post(path, &chat(false)).await;
            assert_eq!(answer.status, 502, "{case}: {}", answer.text());
            let error = &answer.json()["error"];
            let said = if path.starts_with("/v1") {
                &error["message"]
            } else {
                error
            };
            assert!(said.as_str().is_some_and(|text| !text.is_empty()), "{case}");
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn an_embedding_or_a_description_that_is_not_whole_is_no_answer_either() {
    for (path, body) in [
        ("/api/embed", json!({"model": "llama3.2", "input": "hi"})),
        (
            "/v1/embeddings",
            json!({"model": "llama3.2", "input": "hi"}),
        ),
        ("/api/show", json!({"model": "llama3.2"})),
    ] {
        for framing in [Framing::Length, Framing::Close, Framing::ChunkedCut] {
            let reply = Reply::ok("application/json", r#"{"data":[1.0,2."#).framed(framing);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&server, Kind::Ollama).await;
            let answer = router.post(path, &body).await;
            assert_eq!(answer.status, 502, "{path} {framing:?}: {}", answer.text());
            router.finish().await;
        }
    }
}

/// Ollama says so itself when its runner ends before its answer does.
#[tokio::test]
async fn an_answer_that_says_that_it_is_not_done_is_not_whole() {
    let router = Plan::servers(2).start().await;
    for path in ["/api/chat", "/v1/chat/completions"] {
        for server in &router.servers {
            server.fault(Fault::CleanEnd { after: 3 }.next(1));
        }
        let refused = router.post(path, &chat(false)).await;
        assert_eq!(refused.status, 502, "{path}: {}", refused.text());
        let served = router.post(path, &chat(false)).await;
        assert_eq!(served.status, 200, "{path}: {}", served.text());
    }
    router.finish().await;
    let server = Scripted::start(|_| Reply::ok("application/json", LINE)).await;
    let router = beside_another(&server).await;
    let answer = router.post("/api/chat", &chat(false)).await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
    assert_eq!(answer.json()["done"], true);
    router.finish().await;
}

#[tokio::test]
async fn a_refusal_without_a_word_is_said_in_the_dialect_of_the_client() {
    for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
        let reply = Reply::ok("text/plain", "").framed(framing).status(400);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::Ollama).await;
        let answer = router.post("/api/chat", &chat(false)).await;
        assert_eq!(answer.status, 400, "{framing:?}");
        assert!(
            answer.json()["error"].is_string(),
            "{framing:?}: {}",
            answer.text()
        );
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        assert!(answer.json()["error"]["message"].is_string(), "{framing:?}");
        router.finish().await;
    }
}

/// The vectors of many inputs.
#[tokio::test]
async fn an_answer_of_some_megabytes_that_breaks_is_retried_elsewhere() {
    let text = "a".repeat(4 << 20);
    let half = format!(r#"{{"message":{{"content":"{text}"#);
    for framing in [Framing::Short, Framing::ChunkedCut, Framing::Close] {
        let reply = Reply::ok("application/json", half.clone()).framed(framing);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = beside_another(&server).await;
        let answer = router.post("/api/chat", &chat(false)).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{framing:?}");
        assert!(
            !answer.broken && answer.json()["done"] == true,
            "{framing:?}"
        );
        router.finish().await;
    }
}

#[tokio::test]
async fn a_large_answer_that_is_whole_passes_with_its_length_and_is_counted() {
    for bytes in [4 << 20, 9 << 20] {
        let text = "a".repeat(bytes);
        let whole = CHAT.replace("aaaaa", &text);
        for framing in [Framing::Length, Framing::Chunked] {
            let reply = Reply::ok("application/json", whole.clone()).framed(framing);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&server, Kind::Ollama).await;
            let answer = router.post("/api/chat", &chat(false)).await;
            assert!(!answer.broken && answer.text() == whole, "{framing:?}");
            let length = match framing {
                Framing::Length => whole.len().to_string(),
                _ => String::new(),
            };
            assert_eq!(answer.header("content-length"), length);
            assert_eq!(router.counted().await, (7, 5), "{framing:?}");
            router.finish().await;
        }
    }
}

/// Larger than what is kept: it passes as it comes, and breaking it is what is left.
#[tokio::test]
async fn a_large_answer_that_breaks_is_aborted() {
    let text = "a".repeat(9 << 20);
    let half = format!(r#"{{"message":{{"content":"{text}"#);
    for framing in [
        Framing::Short,
        Framing::ChunkedCut,
        Framing::Close,
        Framing::Chunked,
    ] {
        let reply = Reply::ok("application/json", half.clone()).framed(framing);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::Ollama).await;
        let answer = router.post("/api/chat", &chat(false)).await;
        assert!(answer.broken, "{framing:?}");
        router.finish().await;
    }
}
