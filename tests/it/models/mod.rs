//! Models over several servers: pull, push, create, copy, delete and blobs.

mod change;
mod files;
mod meant;
mod measured;
mod pull;
mod pulls;
mod servers;
mod who;

use std::time::Duration;

use bytes::Bytes;
use herdsman_simulator::Model;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Plan, Stream, TEST_TIMEOUT, TestRouter, eventually};

/// What the registry has.
const SIZE: u64 = 1_000_000;

/// Servers without models that can pull `big`.
fn plan(servers: usize) -> Plan {
    Plan::servers(servers)
        .set("fleet.models_interval=1h")
        .each(|server| {
            server.models.clear();
            server.registry = Some(vec![Model {
                size: SIZE,
                ..Model::named("big")
            }]);
        })
}

async fn send(
    router: &TestRouter,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Stream {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", router.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.request(request.body(Full::new(body)).unwrap()).await
}

async fn delete(router: &TestRouter, body: Value) -> Answer {
    let body = body.to_string().into();
    send(router, Method::DELETE, "/api/delete", &[], body)
        .await
        .whole()
        .await
}

/// The models that a server has, by its own word, sorted.
pub async fn models_of(router: &TestRouter, server: usize) -> Vec<String> {
    let tags = Request::get(format!("{}/api/tags", router.servers[server].url()));
    let tags = router.request(tags.body(Full::default()).unwrap()).await;
    names(&tags.whole().await.json())
}

/// Those that the router lists, sorted.
pub async fn listed(router: &TestRouter) -> Vec<String> {
    names(&router.get("/api/tags").await.json())
}

fn names(tags: &Value) -> Vec<String> {
    let models = tags["models"].as_array().unwrap().iter();
    let mut names: Vec<String> = models
        .map(|model| model["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Servers that have the model, as the router knows it.
fn holders(router: &TestRouter, model: &str) -> Vec<String> {
    let view = router.app.fleet().view();
    let has = |server: &&herdsman::fleet::Server| {
        let mut models = server.report.models.iter().flat_map(|models| models.iter());
        models.any(|listed| &*listed.spelling == model)
    };
    let servers = view.servers.iter().filter(has);
    servers
        .map(|server| server.endpoint.name().to_string())
        .collect()
}

async fn is_down(router: &TestRouter, server: usize) {
    eventually("the server is found down", || {
        let view = router.app.fleet().view();
        let server = &view.servers[server];
        !server.endpoint.is_up() && server.report.phase == herdsman::fleet::Phase::Down
    })
    .await;
}

async fn is_up(router: &TestRouter, server: usize) {
    eventually("the server is up", || {
        let view = router.app.fleet().view();
        view.servers[server].report.phase == herdsman::fleet::Phase::Up
    })
    .await;
}

/// The pulls as operators see them.
async fn pulls(router: &TestRouter) -> Vec<Value> {
    let shown = router.get("/admin/pulls").await.json();
    shown["pulls"].as_array().unwrap().clone()
}

/// Waits until the pulls are so.
async fn until(router: &TestRouter, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        let pulls = pulls(router).await;
        if holds(&pulls) {
            return pulls;
        }
        assert!(Instant::now() < deadline, "never: {what}: {pulls:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The next whole lines; none at the end.
async fn some_lines(stream: &mut Stream) -> Vec<Value> {
    let Some(piece) = stream.piece().await else {
        return Vec::new();
    };
    let text = std::str::from_utf8(&piece).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What every client of Ollama relies on: no number of a layer goes back, `success` or an error is the last
/// line and no other.
pub fn check_progress(lines: &[Value]) {
    let mut layers = std::collections::BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let last = at + 1 == lines.len();
        let ends = line["status"] == "success" || line.get("error").is_some();
        assert_eq!(ends, last, "{line} is line {at} of {lines:?}");
        let Some(digest) = line["digest"].as_str() else {
            continue;
        };
        let number = |key: &str| line[key].as_u64().unwrap_or(0);
        let now = (number("total"), number("completed"));
        assert!(now.1 <= now.0, "{line}");
        let before = layers.insert(digest.to_owned(), now).unwrap_or(now);
        assert!(
            now.0 >= before.0 && now.1 >= before.1,
            "{line} after {before:?}"
        );
    }
}

fn named(model: &str) -> Value {
    json!({ "model": model })
}
