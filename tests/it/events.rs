//! `/admin/events`: everything as it is, and then what changes.

use std::time::Duration;

use herdsman_simulator::Model;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{Plan, Stream, TEST_TIMEOUT, TestRouter};

/// One who watches.
struct Watcher {
    stream: Stream,
    text: String,
}

impl Watcher {
    async fn new(router: &TestRouter, topics: &str) -> Self {
        let path = format!("/admin/events?topics={topics}");
        let request = Request::get(format!("{}{path}", router.url()))
            .body(bytes::Bytes::new().into())
            .unwrap();
        let stream = router.request(request).await;
        assert_eq!(stream.status, StatusCode::OK);
        assert_eq!(stream.headers["cache-control"], "no-store");
        let text = String::new();
        Self { stream, text }
    }

    /// The next event's name and data.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap()
                        .trim()
                        .to_owned()
                };
                let told = (
                    field("event:"),
                    serde_json::from_str(&field("data:")).unwrap(),
                );
                self.text = rest.to_owned();
                return Some(told);
            }
            let piece = self.stream.piece().await?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// The first event of this name for which it holds.
    async fn until(&mut self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let (event, data) = self.next().await.expect("it goes on");
                if event == name && holds(&data) {
                    return data;
                }
            }
        };
        let found = tokio::time::timeout(TEST_TIMEOUT, found).await;
        found.unwrap_or_else(|_| panic!("no such {name}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_sees_everything_and_then_what_changes() {
    let router = Plan::servers(2).start().await;
    let mut watcher = Watcher::new(&router, "servers,requests").await;
    let (event, hello) = watcher.next().await.unwrap();
    assert_eq!((&*event, &hello["zone"]), ("hello", &json!("UTC")));
    let (event, servers) = watcher.next().await.unwrap();
    assert_eq!(
        (&*event, &servers["topic"]),
        ("snapshot", &json!("servers"))
    );
    let rows = servers["rows"].as_object().unwrap();
    assert_eq!(rows.len(), 2);
    let names: Vec<&Value> = rows.values().map(|row| &row[0]).collect();
    assert_eq!(names, [&json!("gpu-0"), &json!("gpu-1")]);
    let (event, requests) = watcher.next().await.unwrap();
    assert_eq!(
        (&*event, &requests["topic"]),
        ("snapshot", &json!("requests"))
    );
    // Nothing happens: still there.
    watcher
        .until("delta", |delta| delta["topic"].is_null())
        .await;

    let drained = router
        .admin(Method::POST, "/admin/endpoints/gpu-0/drain", Value::Null)
        .await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    let phase = servers["columns"]
        .as_array()
        .unwrap()
        .iter()
        .position(|name| name == "phase");
    let changed = watcher
        .until("delta", |delta| {
            delta["topic"] == "servers" && delta["changed"].is_object()
        })
        .await;
    let changes = changed["changed"].as_object().unwrap();
    let fields = changes.values().next().unwrap().as_array().unwrap();
    assert!(
        fields.contains(&json!([phase.unwrap(), "drained"])),
        "{changed}"
    );
    let told = watcher
        .until("event", |event| {
            event["kind"] == "admin" && event["what"] == "drain"
        })
        .await;
    assert_eq!([&told["of"], &told["by"]], ["gpu-0", "127.0.0.1"], "{told}");
    let router = {
        let one = router.get("/admin/endpoints/gpu-0").await.json();
        let states: Vec<&str> = one["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|was| was["phase"].as_str().unwrap())
            .collect();
        assert!(
            states.ends_with(&["drained"]) && states.contains(&"up"),
            "{states:?}"
        );
        router
    };
    // A server that goes is told of, with why.
    router.servers[1].stop().await;
    let down = watcher
        .until("event", |event| {
            event["kind"] == "state" && event["server"] == "gpu-1"
        })
        .await;
    assert_eq!(down["phase"], "down", "{down}");

    let goodbye = async {
        loop {
            match watcher.next().await {
                Some((event, data)) if event == "bye" => break data,
                Some(_) => {}
                None => panic!("no goodbye"),
            }
        }
    };
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        router.finish().await;
    };
    let (bye, ()) = tokio::join!(goodbye, stopping);
    assert_eq!(bye["retry_after"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_seen_to_come_and_to_go() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 200;
            server.decode_interval = Duration::from_millis(20);
        })
        .start()
        .await;
    let mut watcher = Watcher::new(&router, "overview,requests,models,system").await;
    for topic in ["overview", "requests", "models", "system"] {
        watcher
            .until("snapshot", |snapshot| snapshot["topic"] == topic)
            .await;
    }
    let messages = json!([{"role": "user", "content": "x"}]);
    let body = json!({"model": "llama3.2", "messages": messages});
    let mut stream = router.stream("/api/chat", &body).await;
    stream.piece().await.unwrap();
    let of = |topic: &'static str| move |delta: &Value| delta["topic"] == topic;
    let came = watcher
        .until("delta", |delta| {
            of("requests")(delta) && delta["rows"].is_object()
        })
        .await;
    let (id, row) = came["rows"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(row[2], "llama3.2:latest");
    drop(stream);
    let went = watcher
        .until("delta", |delta| {
            of("requests")(delta) && delta["removed"].is_array()
        })
        .await;
    assert_eq!(went["removed"][0].to_string(), *id);
    let one = router.get("/admin/endpoints/gpu-0").await.json();
    assert!(one["first_byte_ms"]["p50"].as_f64().unwrap() > 0.0, "{one}");
    drop(watcher);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_is_seen_to_get_on() {
    let router = Plan::servers(2)
        .each(|server| {
            server.pull_bytes_per_second = 5e5;
            server.registry = Some(vec![Model {
                size: 1_000_000,
                ..Model::named("big")
            }]);
        })
        .start()
        .await;
    let mut watcher = Watcher::new(&router, "jobs").await;
    let none = watcher.until("snapshot", |_| true).await;
    assert_eq!(none["rows"], json!({}));
    let begun = router
        .admin(Method::POST, "/admin/pulls", json!({"model": "big"}))
        .await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    watcher
        .until("job", |job| {
            job["phase"] == "running" && job["completed"] != 0
        })
        .await;
    let done = watcher.until("job", |job| job["phase"] == "done").await;
    assert_eq!([&done["kind"], &done["model"]], ["pull", "big"]);
    assert_eq!(done["completed"], done["total"]);
    assert_eq!(done["endpoints"].as_array().unwrap().len(), 2);
    drop(watcher);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_do_is_told_and_what_was_refused_is_not() {
    let router = Plan::servers(1).start().await;
    let mut watcher = Watcher::new(&router, "overview").await;
    watcher.until("snapshot", |_| true).await;
    let (user, price) = (json!({"id": "ann"}), json!({"input_nano_usd": 1}));
    for (method, path, body, status) in [
        (Method::POST, "/admin/users", user.clone(), 201),
        (Method::POST, "/admin/users", user, 409),
        (Method::PUT, "/admin/prices/a/b", price, 200),
        (Method::POST, "/admin/models/llama3.2/load", json!({}), 200),
        (Method::DELETE, "/admin/users/ann", Value::Null, 200),
    ] {
        let answer = router.admin(method, path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let mut told = Vec::new();
    while told.last() != Some(&"delete user ann".to_owned()) {
        let event = watcher
            .until("event", |event| event["kind"] == "admin")
            .await;
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        told.push(format!("{} {}", text("what"), text("of")));
    }
    let expected = [
        "create user ann",
        "set price a/b",
        "load model llama3.2",
        "delete user ann",
    ];
    assert_eq!(told, expected);
    drop(watcher);
    router.finish().await;
}

#[tokio::test]
async fn topics_that_there_are_not_are_refused() {
    let router = Plan::servers(1).start().await;
    let refused = router.get("/admin/events?topics=servers,weather").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("overview, servers, models"),
        "{}",
        refused.text()
    );
    router.finish().await;
}
