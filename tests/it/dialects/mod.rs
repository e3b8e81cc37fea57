//! `/v1/messages`, `/v1/responses` and `/v1/audio/transcriptions`: relayed, counted, moved to another server and
//! ended as every other call, each in its own words.

mod broken;
mod errors;
mod first_events;
mod limited;
mod marked;
mod shaped;
mod streams;
mod transcriptions;

use herdsman::config::Kind;
use serde_json::{Value, json};

use crate::support::{Plan, Scripted, TestRouter, eventually};

/// The two that generate text.
const PATHS: [&str; 2] = ["/v1/messages", "/v1/responses"];

/// Takes the right fields for both.
fn ask(stream: bool) -> Value {
    json!({
        "model": "llama3.2",
        "max_tokens": 6,
        "max_output_tokens": 6,
        "messages": [{"role": "user", "content": "hi"}],
        "input": "hi",
        "stream": stream,
    })
}

/// A router in front of these servers, the first of which is asked first.
async fn in_front_of(servers: &[(&Scripted, Kind)]) -> TestRouter {
    let mut plan = Plan::servers(0);
    for (i, (server, kind)) in servers.iter().enumerate() {
        let mut endpoint = server.endpoint(&format!("odd-{i}"), *kind);
        endpoint.priority = i32::try_from(i).unwrap();
        plan = plan.and(endpoint);
    }
    let router = plan.start().await;
    eventually("every server has sent its list", || {
        let observed = router.app.fleet().observed();
        observed.iter().all(|server| server.serves())
    })
    .await;
    router
}

/// How many requests were answered, and how many were not.
async fn booked(router: &TestRouter) -> (Value, Value) {
    router.counted().await;
    let report = router.get("/admin/spend?group_by=model").await.json();
    let row = &report["items"][0];
    (row["requests"].clone(), row["failed_requests"].clone())
}

/// The names of a stream's events, and their data.
fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    let events = blocks.map(|block| {
        let (name, data) = block.split_once('\n').expect("a name, and data");
        let name = name.strip_prefix("event: ").expect("a name");
        let data = data.strip_prefix("data: ").expect("data");
        let data: Value = serde_json::from_str(data).expect("JSON");
        (name.to_owned(), data)
    });
    events.collect()
}
