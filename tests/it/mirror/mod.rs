//! The mirror: models are fetched once and given to all servers.

mod bounded;
mod lies;
mod once;
mod resumed;
mod who;

use std::path::PathBuf;

use bytes::Bytes;
use herdsman_test_support::Port;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::models::{check_progress, listed, models_of};
use crate::support::registry::{Registry, bytes};
use crate::support::{Answer, Plan, Stream, TEST_TIMEOUT, TestRouter, eventually};

/// What `big` is made of: weights, a template, and its configuration.
const WEIGHTS: usize = 3_000_000;

fn big() -> Vec<Vec<u8>> {
    vec![bytes(1, WEIGHTS), bytes(2, 70_000), bytes(3, 400)]
}

/// Servers that have nothing and can pull from this router alone, which listens on this port.
fn plan(servers: usize, registry: &Registry, port: &Port) -> Plan {
    let port = port.number();
    Plan::servers(servers)
        .set("fleet.models_interval=1h")
        .set("models.mirror=true")
        .set(&format!("models.registry={}", registry.url))
        .set(&format!("server.listen=127.0.0.1:{port}"))
        .set(&format!("server.advertise.0=localhost:{port}"))
        .set(&format!("server.advertise.1=127.0.0.1:{port}"))
        .each(|server| {
            server.models.clear();
            server.registry = Some(Vec::new());
            server.pull_part_bytes = 300_000;
            server.time_scale = 0.01;
        })
}

async fn pull(router: &TestRouter, model: &str, endpoints: &str) -> Vec<Value> {
    let path = match endpoints.is_empty() {
        true => "/api/pull".to_owned(),
        false => format!("/api/pull?endpoints={endpoints}"),
    };
    let answer = router.post(&path, &json!({ "model": model })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.lines()
}

fn last(lines: &[Value]) -> &str {
    let last = lines.last().unwrap();
    let word = last["error"].as_str().or_else(|| last["status"].as_str());
    word.unwrap()
}

/// A number of `/metrics`.
async fn metric(router: &TestRouter, name: &str) -> u64 {
    let metrics = router.get("/metrics").await;
    let name = format!("herdsman_mirror_{name} ");
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

/// Bytes of blobs that have come from the registry.
async fn fetched(router: &TestRouter) -> u64 {
    metric(router, "fetched_bytes_total").await
}

async fn until_fetched(router: &TestRouter, bytes: u64) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while fetched(router).await < bytes {
        assert!(Instant::now() < deadline, "{bytes} bytes never came");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The files of the cache in this folder, by length.
fn cached(router: &TestRouter, folder: &str) -> Vec<u64> {
    let files = std::fs::read_dir(cache(router).join(folder)).unwrap();
    let mut lengths: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    lengths.sort_unstable();
    lengths
}

fn cache(router: &TestRouter) -> PathBuf {
    router.dir.path().join("mirror")
}

/// A request for a path of the registry under this name of the router.
async fn ask(
    router: &TestRouter,
    method: Method,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let port = router.app.addr().port();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", router.url()))
        .header("host", format!("{host}:{port}"));
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let request = request.body(Full::new(Bytes::new())).unwrap();
    router.request(request).await.whole().await
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default().to_owned()
}

/// A client of a pull that goes on.
async fn pulling(router: &TestRouter, model: &str) -> Stream {
    router.stream("/api/pull", &json!({ "model": model })).await
}

/// The pull that began last, once it is in this phase.
async fn until_pull_is(router: &TestRouter, phase: &str) -> Value {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        let shown = router.get("/admin/pulls").await.json();
        let last = shown["pulls"].as_array().unwrap().last().cloned();
        if let Some(last) = last.filter(|last| last["phase"] == phase) {
            return last;
        }
        assert!(Instant::now() < deadline, "never {phase}: {shown}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn is_idle(registry: &Registry) {
    eventually("nobody waits for the registry", || registry.is_idle()).await;
}
