//! Answers of servers that encode, frame, end and count in ways of their own.

mod begun;
mod encoded;
mod ends;
mod framed;
mod refused;
mod said;
mod stalled;
mod uncounted;
mod whole;

use herdsman::config::Kind;
use serde_json::{Value, json};

use crate::support::{Plan, Reply, Scripted, TestRouter, eventually};

const EVENT: &str =
    r#"data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
const FINISH: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str =
    r#"data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;
const DONE: &str = "data: [DONE]";
const LINE: &str =
    r#"{"model":"llama3.2","message":{"role":"assistant","content":"a"},"done":false}"#;
const LAST: &str = r#"{"model":"llama3.2","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":5}"#;
const CHAT: &str = r#"{"model":"llama3.2","message":{"role":"assistant","content":"aaaaa"},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":5}"#;
const COMPLETION: &str = r#"{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"aaaaa"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;

fn chat(streamed: bool) -> Value {
    json!({"model": "llama3.2", "stream": streamed, "messages": [{"role": "user", "content": "hi there"}]})
}

fn events(events: &[&str]) -> String {
    events.iter().map(|event| format!("{event}\n\n")).collect()
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A router in front of this server alone.
async fn in_front_of(server: &Scripted, kind: Kind) -> TestRouter {
    let router = Plan::servers(0)
        .and(server.endpoint("odd", kind))
        .start()
        .await;
    is_listed(&router).await;
    router
}

/// How the models are on record that fail somewhere.
fn failing(router: &TestRouter) -> Vec<&'static str> {
    let observed = router.app.fleet().observed();
    let evidence = observed.iter().flat_map(|server| &server.evidence);
    evidence.map(|failing| failing.fault.name()).collect()
}

/// A router in front of this server, which is asked first, and of a simulated one.
async fn beside_another(server: &Scripted) -> TestRouter {
    beside_another_of(server, Kind::Ollama).await
}

async fn beside_another_of(server: &Scripted, kind: Kind) -> TestRouter {
    let mut odd = server.endpoint("odd", kind);
    odd.priority = -1;
    let router = Plan::servers(1).and(odd).start().await;
    is_listed(&router).await;
    router
}

async fn is_listed(router: &TestRouter) {
    eventually("every server has sent its list", || {
        router
            .app
            .fleet()
            .observed()
            .iter()
            .all(|server| server.serves())
    })
    .await;
}

/// What was counted for each of these answers, asked for like this.
async fn counted(path: &str, body: &Value, reply: Reply) -> (String, (i64, i64)) {
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    let answer = router.post(path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.broken, "{}", answer.text());
    let counted = router.counted().await;
    router.finish().await;
    (answer.text().to_owned(), counted)
}
