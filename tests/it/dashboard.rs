//! The dashboard that is shipped asks only for metrics that a router has.

use std::collections::BTreeSet;

use herdsman_simulator::Fault;
use herdsman_test_support::redis::Server;
use http::Request;
use serde_json::{Value, json};

use crate::support::Plan;

const DASHBOARD: &str = include_str!("../../deploy/grafana/herdsman.json");

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]})
}

/// The names of metrics in expressions.
fn asked(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("herdsman_")).collect()
}

/// Every `expr` below it.
fn expressions(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(object) => {
            let own = object.get("expr").and_then(Value::as_str);
            let below = object.values().flat_map(expressions);
            own.into_iter().chain(below).collect()
        }
        Value::Array(list) => list.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_asks_for_metrics_there_are() {
    let redis = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    std::fs::write(&file, "# none\n").unwrap();
    let router = Plan::servers(2)
        .redis([&*redis.url()])
        .set(&format!("discovery.file={}", file.display()))
        .start()
        .await;
    // A load, an answer, and a try that fails.
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", "gpu-0")
        .body(chat().to_string().into())
        .unwrap();
    assert_eq!(router.request(request).await.whole().await.status, 200);
    router.servers[0].fault(Fault::InternalError);
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.header("x-herdsman-attempts"), "2");
    router.servers[0].clear_faults();
    router.counted().await;

    let metrics = router.get("/metrics").await;
    // A gauge that has nothing to show now has a type all the same.
    let name = |line: &str| match line.strip_prefix("# TYPE ") {
        Some(typed) => typed.strip_suffix(" gauge").map(str::to_owned),
        None => line.split([' ', '{']).next().map(str::to_owned),
    };
    let there: BTreeSet<String> = metrics.text().lines().filter_map(name).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 15, "{expressions:?}");
    for expression in &expressions {
        assert!(!asked(expression).is_empty(), "{expression}");
    }
    let missing: Vec<&str> = asked(DASHBOARD)
        .into_iter()
        .filter(|name| !there.contains(*name))
        .collect();
    assert!(missing.is_empty(), "there is no {missing:?}");
    router.finish().await;
}
