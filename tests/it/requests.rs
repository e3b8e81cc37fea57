//! What operators see of requests, and what the access log keeps of them.

use std::time::Duration;

use herdsman_simulator::Fault;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Plan, Stream, TEST_TIMEOUT, TestRouter, eventually};

const ALL: &str = "/admin/requests";

fn chat() -> Value {
    let messages = json!([{"role": "user", "content": "a secret of the client's"}]);
    json!({"model": "llama3.2", "messages": messages})
}

async fn ask(router: &TestRouter, id: &str, body: Value) -> Stream {
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-request-id", id)
        .body(body.to_string().into())
        .unwrap();
    router.request(request).await
}

async fn shown(router: &TestRouter, id: &str) -> Value {
    router.get(&format!("{ALL}/{id}")).await.json()
}

async fn open(router: &TestRouter) -> Vec<Value> {
    let listed = router.get(ALL).await.json();
    listed["requests"].as_array().unwrap().clone()
}

async fn cancel(router: &TestRouter, id: &str) -> Answer {
    let path = format!("{ALL}/{id}");
    router.admin(Method::DELETE, &path, Value::Null).await
}

/// Slow enough to be looked at.
fn slow(server: &mut herdsman_simulator::Config) {
    server.default_predict = 200;
    server.decode_interval = Duration::from_millis(20);
}

/// The reasons why, by server.
fn why(shown: &Value) -> Vec<(String, String)> {
    let why = shown["why"].as_array().unwrap();
    let text = |why: &Value, key: &str| why[key].as_str().unwrap().to_owned();
    let mut all: Vec<_> = why
        .iter()
        .map(|why| {
            (
                text(why, "endpoint"),
                format!("{}: {}", text(why, "verdict"), text(why, "reason")),
            )
        })
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_seen_where_it_is_and_afterwards_how_it_went() {
    let router = Plan::servers(1)
        .each(slow)
        .set("routing.slots=1")
        .start()
        .await;
    let mut stream = ask(&router, "first", chat()).await;
    for _ in 0..4 {
        stream.piece().await.unwrap();
    }
    let running = shown(&router, "first").await;
    assert_eq!(
        [
            &running["phase"],
            &running["endpoint"],
            &running["model"],
            &running["path"]
        ],
        [
            &json!("streaming"),
            &json!("gpu-0"),
            &json!("llama3.2:latest"),
            &json!("/api/chat")
        ]
    );
    assert!(running["tokens"].as_u64().unwrap() >= 3, "{running}");
    assert_eq!(
        why(&running),
        [(
            "gpu-0".to_owned(),
            "chosen: the best of those that had room".to_owned()
        )]
    );

    // The only slot is taken.
    let waiting = ask(&router, "second", chat());
    let watching = async {
        loop {
            let seen = open(&router).await;
            if let Some(second) = seen.iter().find(|request| request["id"] == "second") {
                assert_eq!(second["phase"], "waiting", "{second}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seen = shown(&router, "second").await;
        assert_eq!(
            why(&seen),
            [(
                "gpu-0".to_owned(),
                "excluded: all its slots are in use".to_owned()
            )]
        );
        drop(stream);
    };
    let (second, ()) = tokio::join!(waiting, watching);
    drop(second);
    router.at_rest().await;
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    while !open(&router).await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "both end");
    }
    let first = shown(&router, "first").await;
    assert_eq!(
        [&first["phase"], &first["status"]],
        [&json!("ended"), &json!(200)]
    );
    let ended = router.get(&format!("{ALL}?ended=true&limit=1")).await;
    assert_eq!(ended.json()["requests"][0]["id"], "second");
    assert!(!ended.text().contains("secret"));
    assert_eq!(router.get(&format!("{ALL}/third")).await.status, 404);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_failed_over_says_where_and_why() {
    let router = Plan::servers(2)
        .endpoint(1, |endpoint| endpoint.priority = 1)
        .start()
        .await;
    router.servers[0].fault(Fault::InternalError.on("llama3.2").next(1));
    let answer = ask(&router, "a", chat()).await.whole().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-attempts"), "2");
    let shown = shown(&router, "a").await;
    let tries = shown["tries"].as_array().unwrap();
    assert_eq!(tries.len(), 2, "{shown}");
    assert_eq!(
        [&tries[0]["endpoint"], &tries[1]["endpoint"]],
        ["gpu-0", "gpu-1"]
    );
    assert!(
        tries[0]["failure"].is_string() && tries[1]["failure"].is_null(),
        "{shown}"
    );
    let because = |server: &str, why: &str| (server.to_owned(), why.to_owned());
    assert_eq!(
        why(&shown),
        [
            because("gpu-0", "excluded: has failed this request already"),
            because("gpu-1", "chosen: the best of those that had room")
        ]
    );
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_can_be_cancelled_wherever_it_is_and_its_slot_is_free() {
    let router = Plan::servers(1)
        .each(slow)
        .set("routing.slots=1")
        .start()
        .await;
    // Inside its answer.
    let mut stream = ask(&router, "streams", chat()).await;
    stream.piece().await.unwrap();
    // Waiting for the slot.
    let waiting = async { ask(&router, "waits", chat()).await.whole().await };
    let cancelling = async {
        let is_there = async || {
            open(&router)
                .await
                .iter()
                .any(|request| request["id"] == "waits")
        };
        while !is_there().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(
            cancel(&router, "waits").await.json(),
            json!({"cancelled": "waits", "requests": 1})
        );
    };
    let (waited, ()) = tokio::join!(waiting, cancelling);
    assert_eq!(waited.status, StatusCode::FORBIDDEN);
    assert!(
        waited.text().contains("cancelled by an operator"),
        "{}",
        waited.text()
    );
    assert_eq!(cancel(&router, "streams").await.status, 200);
    let answer = stream.whole().await;
    assert!(
        answer.text().contains("cancelled by an operator"),
        "{}",
        answer.text()
    );
    assert!(
        !answer.text().contains("\"done\":true"),
        "{}",
        answer.text()
    );
    assert_eq!(cancel(&router, "streams").await.status, 404, "it is over");
    // Not streamed: nothing of the answer has come.
    let mut whole = chat();
    whole["stream"] = json!(false);
    let asking = async { ask(&router, "whole", whole).await.whole().await };
    let cancelling = async {
        loop {
            let seen = open(&router).await;
            if seen.iter().any(|request| request["phase"] == "prompt") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(cancel(&router, "whole").await.status, 200);
    };
    let (answer, ()) = tokio::join!(asking, cancelling);
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    let shown = shown(&router, "whole").await;
    assert_eq!(
        [&shown["cancelled"], &shown["status"]],
        [&json!(true), &json!(499)]
    );
    router.at_rest().await;
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_removed_at_once_ends_its_streams_with_an_error() {
    let other = herdsman_simulator::Simulator::start({
        let mut config = herdsman_simulator::Config {
            models: vec![herdsman_simulator::Model::named("phi4")],
            ..Default::default()
        };
        slow(&mut config);
        config
    })
    .await
    .unwrap();
    let router = Plan::servers(1).start().await;
    let added = json!({"name": "other", "url": other.url()});
    let added = router.admin(Method::POST, "/admin/endpoints", added).await;
    assert_eq!(added.status, 201, "{}", added.text());
    eventually("it is up", || {
        let view = router.app.fleet().view();
        let up = view.up().filter(|server| server.report.models.is_some());
        up.count() == 2
    })
    .await;
    let mut phi = chat();
    phi["model"] = json!("phi4");
    let mut stream = ask(&router, "s", phi).await;
    stream.piece().await.unwrap();
    let gone = router
        .admin(
            Method::DELETE,
            "/admin/endpoints/other?now=true",
            Value::Null,
        )
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    let answer = stream.whole().await;
    assert!(
        answer.text().contains("cancelled by an operator"),
        "{}",
        answer.text()
    );
    eventually("it is gone", || {
        router.app.fleet().view().servers.len() == 1
    })
    .await;
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_its_line_in_the_access_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let router = Plan::servers(1)
        .each(|server| server.load = Duration::from_millis(50))
        .set(&format!("log.access={}", file.display()))
        .start()
        .await;
    let key = router
        .admin(Method::POST, "/admin/keys", json!({}))
        .await
        .json();
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-request-id", "a")
        .header(
            "authorization",
            format!("Bearer {}", key["key"].as_str().unwrap()),
        )
        .body(chat().to_string().into())
        .unwrap();
    router.request(request).await.whole().await;
    let unknown = json!({"model": "nothing", "messages": []});
    ask(&router, "b", unknown).await.whole().await;
    ask(&router, "c", json!({"messages": []}))
        .await
        .whole()
        .await;
    router.finish().await;

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [a, b, c] = &lines[..] else {
        panic!("{text}");
    };
    assert_eq!(
        [
            &a["id"],
            &a["path"],
            &a["model"],
            &a["endpoint"],
            &a["status"],
            &a["key"],
            &a["route"]
        ],
        [
            &json!("a"),
            &json!("/api/chat"),
            &json!("llama3.2:latest"),
            &json!("gpu-0"),
            &json!(200),
            &key["id"],
            &json!("cold")
        ]
    );
    assert_eq!(a["output_tokens"], 8);
    let time = |name: &str| a[name].as_f64().unwrap();
    assert!(
        time("load_ms") >= 50.0 && time("first_byte_ms") <= time("total_ms"),
        "{a}"
    );
    assert_eq!([&b["status"], &b["endpoint"]], [&json!(404), &json!("")]);
    assert_eq!([&c["id"], &c["status"]], [&json!("c"), &json!(400)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_spoke_against_each_server_is_said_of_each() {
    let router = Plan::servers(4).start().await;
    let drained = router
        .admin(Method::POST, "/admin/endpoints/gpu-0/drain", Value::Null)
        .await;
    assert_eq!(drained.status, 200);
    router.servers[1].stop().await;
    eventually("the second server is down", || {
        router.app.fleet().observed()[1].phase == herdsman::fleet::Shown::Down
    })
    .await;
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-request-id", "a")
        .header("x-herdsman-endpoints", "gpu-0,gpu-1,gpu-3")
        .body(chat().to_string().into())
        .unwrap();
    let answer = router.request(request).await.whole().await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-3");
    let because = |server: &str, why: &str| (server.to_owned(), why.to_owned());
    let excluded = "excluded: not among the servers that the client or its key allows";
    assert_eq!(
        why(&shown(&router, "a").await),
        [
            because("gpu-0", "excluded: drains"),
            because("gpu-1", "excluded: does not answer"),
            because("gpu-2", excluded),
            because("gpu-3", "chosen: the best of those that had room"),
        ]
    );
    // One that nobody could take.
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-request-id", "b")
        .header("x-herdsman-endpoints", "gpu-0")
        .body(chat().to_string().into())
        .unwrap();
    assert_eq!(router.request(request).await.whole().await.status, 502);
    let refused = shown(&router, "b").await;
    assert_eq!(refused["tries"], json!([]));
    assert_eq!(why(&refused)[0], because("gpu-0", "excluded: drains"));
    assert_eq!(why(&refused)[3], because("gpu-3", excluded));
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_listed_shown_and_cancelled_by_commands() {
    let router = Plan::servers(1).each(slow).start().await;
    let herdsman = async |arguments: &[&str]| {
        // No router listens at the first address.
        let addresses = format!("http://127.0.0.1:1,{}", router.url());
        tokio::process::Command::new(env!("CARGO_BIN_EXE_herdsman"))
            .args(["request"])
            .args(arguments)
            .env_clear()
            .env("HERDSMAN_ADDRESS", addresses)
            .output()
            .await
            .unwrap()
    };
    let mut stream = ask(&router, "one", chat()).await;
    stream.piece().await.unwrap();
    let listed = herdsman(&["list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let one = &listed["requests"][0];
    assert_eq!(
        [&one["id"], &one["phase"], &one["router"]],
        [&json!("one"), &json!("streaming"), &json!(router.url())]
    );
    let shown = herdsman(&["show", "one"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("the best of those that had room"), "{shown}");
    let cancelled = herdsman(&["cancel", "one"]).await;
    assert_eq!(cancelled.stdout, b"cancelled one\n");
    let answer = stream.whole().await;
    assert!(answer.text().contains("cancelled"), "{}", answer.text());
    let again = herdsman(&["cancel", "one"]).await;
    assert_eq!(again.status.code(), Some(1));
    let ended = herdsman(&["list", "--ended", "--status", "200"]).await;
    let ended = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.contains("200 (cancelled)"), "{ended}");
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waited_and_then_has_its_model_loaded_is_seen_loading() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let router = Plan::servers(1)
        .each(|server| {
            server.models.push(herdsman_simulator::Model::named("phi4"));
            server.load = Duration::from_millis(300);
        })
        .set(&format!("log.access={}", file.display()))
        .start()
        .await;
    let mut phi = chat();
    phi["model"] = json!("phi4");
    let first = async { ask(&router, "first", chat()).await.whole().await };
    let second = async {
        while shown(&router, "first").await["phase"] != "loading" {}
        ask(&router, "second", phi).await.whole().await
    };
    let watching = async {
        while shown(&router, "second").await["phase"] != "loading" {}
        // As it is called, and as it is asked for.
        let listed = router.get(&format!("{ALL}?model=phi4")).await.json();
        assert_eq!(listed["requests"][0]["id"], "second");
    };
    let (first, second, ()) = tokio::time::timeout(TEST_TIMEOUT, async {
        tokio::join!(first, second, watching)
    })
    .await
    .expect("it is seen loading");
    assert_eq!(
        (first.status, second.status),
        (StatusCode::OK, StatusCode::OK)
    );
    router.finish().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let second = lines.iter().find(|line| line["id"] == "second").unwrap();
    assert_eq!(second["route"], "queued");
    assert!(second["load_ms"].as_f64().unwrap() >= 200.0, "{second}");
}
