//! A real llama-server behind the router, as `kind = "openai"`.

mod process;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Plan, TestRouter, eventually};
use process::{LlamaServer, SLOW, TINY};

async fn router_with(servers: &[&LlamaServer]) -> TestRouter {
    let names = ["llama-0", "llama-1"];
    let endpoints = servers.iter().zip(names);
    let plan = endpoints.fold(Plan::servers(0), |plan, (server, name)| {
        plan.and(server.endpoint(name))
    });
    plan.start().await
}

/// Exactly so many tokens: a model of random weights may end at any of them.
fn chat(streamed: bool, tokens: u32) -> Value {
    json!({
        "model": "tiny",
        "stream": streamed,
        "max_tokens": tokens,
        "ignore_eos": true,
        "messages": [{"role": "user", "content": "hello world"}],
    })
}

/// The usage that the answers reported.
#[derive(Default)]
struct Used(i64, i64);

impl Used {
    fn add(&mut self, usage: &Value) {
        self.0 += usage["prompt_tokens"].as_i64().unwrap();
        self.1 += usage["completion_tokens"].as_i64().unwrap_or(0);
    }
}

/// The objects of a stream, which must have its end.
fn events(text: &str) -> Vec<Value> {
    let whole = text.trim_end().strip_suffix("data: [DONE]").expect(text);
    let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

#[tokio::test]
async fn every_call_is_served_unchanged_and_counted() {
    let server = LlamaServer::start(TINY, &["--embeddings", "--pooling", "mean"]).await;
    let router = router_with(&[&server]).await;
    let mut used = Used::default();

    let answer = router.post("/v1/chat/completions", &chat(false, 5)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-endpoint"), "llama-0");
    used.add(&answer.json()["usage"]);

    // Greedy, so that the same request has the same answer.
    let mut greedy = chat(true, 5);
    greedy["temperature"] = json!(0);
    let mut asking = greedy.clone();
    asking["stream_options"] = json!({"include_usage": true});
    let answer = router.post("/v1/chat/completions", &asking).await;
    let all = events(answer.text());
    let asked = all.len();
    let usage = &all.last().unwrap()["usage"];
    used.add(usage);

    // Usage that was not asked for is not sent to the client, and it is counted all the same.
    used.add(usage);
    let answer = router.post("/v1/chat/completions", &greedy).await;
    let all = events(answer.text());
    assert_eq!(all.len(), asked - 1, "{}", answer.text());
    assert!(all.iter().all(|event| event["choices"] != json!([])));
    let seen: Vec<_> = all.iter().filter(|e| e["usage"].is_object()).collect();
    assert!(seen.is_empty(), "{seen:?}");

    for streamed in [false, true] {
        let body =
            json!({"model": "tiny", "prompt": "the cat", "max_tokens": 4, "stream": streamed});
        let answer = router.post("/v1/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        match streamed {
            false => used.add(&answer.json()["usage"]),
            true => used.add(&events(answer.text()).last().unwrap()["usage"]),
        }
    }
    let body = json!({"model": "tiny", "input": ["hello", "world"]});
    let answer = router.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 2);
    used.add(&answer.json()["usage"]);

    assert_eq!(router.counted().await, (used.0, used.1));
    router.finish().await;
}

#[tokio::test]
async fn its_models_are_listed_and_other_dialects_do_not_find_them() {
    let server = LlamaServer::start(TINY, &[]).await;
    let router = router_with(&[&server]).await;
    let tags = router.get("/api/tags").await.json();
    assert_eq!(tags["models"][0]["name"], "tiny");
    let models = router.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "tiny");
    let body = json!({"model": "tiny", "messages": []});
    let answer = router.post("/api/chat", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    // Under any spelling of its name.
    let mut body = chat(false, 1);
    body["model"] = json!("tiny:latest");
    assert_eq!(router.post("/v1/chat/completions", &body).await.status, 200);
    // A call it does not have is refused, and does not change the state of the server.
    let body = json!({"model": "tiny", "input": "x"});
    let answer = router.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 501, "{}", answer.text());
    assert_eq!(
        router
            .post("/v1/chat/completions", &chat(false, 1))
            .await
            .status,
        200
    );
    router.finish().await;
}

#[tokio::test]
async fn requests_fail_over_from_a_killed_server_and_a_cut_stream_ends_with_an_error() {
    let mut first = LlamaServer::start(SLOW, &[]).await;
    let second = LlamaServer::start(TINY, &[]).await;
    let router = router_with(&[&first, &second]).await;
    let mut cut = None;
    while cut.is_none() {
        let mut stream = router
            .stream("/v1/chat/completions", &chat(true, 400))
            .await;
        stream.piece().await.unwrap();
        if stream.headers["x-herdsman-endpoint"] == "llama-0" {
            cut = Some(stream);
        }
    }
    first.kill().await;
    let answer = cut.unwrap().whole().await;
    assert!(answer.text().contains("\"error\""), "{}", answer.text());
    assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
    for i in 0..6 {
        let answer = router
            .post("/v1/chat/completions", &chat(i % 2 == 0, 3))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "llama-1");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_slot_is_counted_until_an_answer_is_computed_that_nobody_waits_for() {
    let server = LlamaServer::start(SLOW, &[]).await;
    let router = router_with(&[&server]).await;
    let body = chat(false, 200);
    // The client leaves when the server computes.
    let leaves = async {
        while server.slots().await != Some(1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = router.post("/v1/chat/completions", &body) => panic!("it was answered already"),
        () = leaves => {}
    }
    assert_eq!(server.slots().await, Some(1), "it goes on");
    assert_eq!(router.in_flight(), 1, "and so does its slot");
    router.at_rest().await;
    assert_eq!(server.slots().await, Some(0), "the slot is free when it is");
    let (input, output) = router.counted().await;
    assert!(input > 0 && output == 200, "{input} {output}");
    let metrics = router.get("/metrics").await;
    assert!(
        metrics.text().contains(r#"status="499""#),
        "{}",
        metrics.text()
    );
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_frees_the_servers_slot() {
    let server = LlamaServer::start(SLOW, &[]).await;
    let router = router_with(&[&server]).await;
    let mut stream = router
        .stream("/v1/chat/completions", &chat(true, 1500))
        .await;
    stream.piece().await.unwrap();
    assert_eq!(server.slots().await, Some(1));
    drop(stream);
    router.at_rest().await;
    let free = async {
        while server.slots().await != Some(0) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), free)
        .await
        .expect("long before its end");
    router.finish().await;
}

#[tokio::test]
async fn the_key_is_sent_and_a_server_that_refuses_it_is_not_used() {
    let server = LlamaServer::start(TINY, &["--api-key", "sesame"]).await;
    let mut right = server.endpoint("right");
    right.api_key = "sesame".into();
    let mut wrong = server.endpoint("wrong");
    wrong.api_key = "other".into();
    let router = Plan::servers(0).and(right).and(wrong).start().await;
    eventually("the one that is refused is down", || {
        let observed = router.app.fleet().observed();
        let wrong = observed.iter().find(|server| &*server.id.name == "wrong");
        wrong.is_some_and(|server| server.reason.is_some())
    })
    .await;
    let health = router.get("/health").await.json();
    let detail = health["endpoints"]["wrong"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("api_key") && detail.contains("401"),
        "{detail}"
    );
    for _ in 0..4 {
        let answer = router.post("/v1/chat/completions", &chat(false, 1)).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "right");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_before_the_server_closes_it() {
    let server = LlamaServer::start(TINY, &[]).await;
    let router = router_with(&[&server]).await;
    let idle = || {
        router.app.fleet().view().servers[0]
            .endpoint
            .idle_connections()
    };
    assert_eq!(
        router
            .post("/v1/chat/completions", &chat(false, 1))
            .await
            .status,
        200
    );
    assert!(idle() > 0, "kept for the next request");
    let closed = async { eventually("it is closed", || idle() == 0).await };
    timeout(Duration::from_secs(5), closed)
        .await
        .expect("within five seconds");
    router.finish().await;
}
