//! Servers that ask for a pause, and the requests that come or wait meanwhile.

use std::time::Duration;

use herdsman_simulator::Fault;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Plan, TestRouter, eventually};

const PATHS: [&str; 2] = ["/api/chat", "/v1/chat/completions"];

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]})
}

/// Asks for a pause.
fn later(status: u16, seconds: u64) -> Fault {
    Fault::Answer {
        status,
        headers: vec![("retry-after".to_owned(), seconds.to_string())],
        body: r#"{"error":"later"}"#.to_owned(),
    }
}

async fn only(router: &TestRouter, endpoint: &str) -> Answer {
    let request = http::Request::post(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", endpoint)
        .body(chat().to_string().into())
        .unwrap();
    router.request(request).await.whole().await
}

/// Has that server ask for a pause, and waits until it counts.
async fn pause(router: &TestRouter, server: usize, fault: Fault) {
    router.servers[server].fault(fault.next(1));
    let endpoint = format!("gpu-{server}");
    let answer = only(router, &endpoint).await;
    assert_eq!(answer.header("retry-after"), "60", "{}", answer.text());
    eventually("it is on record", || {
        let observed = router.app.fleet().observed();
        !observed[server].evidence.is_empty()
    })
    .await;
}

fn waiting(router: &TestRouter) -> usize {
    let queues = router.app.fleet().queue_lengths();
    queues.iter().map(|(_, n)| n).sum()
}

/// Is answered in the router's own words, at once.
fn is_paused(answer: &Answer, path: &str, status: u16) {
    assert_eq!(answer.status, status, "{path}: {}", answer.text());
    let left: u64 = answer.header("retry-after").parse().unwrap();
    assert!((50..=60).contains(&left), "{left}");
    let error = &answer.json()["error"];
    let said = match path {
        "/api/chat" => error,
        _ => &error["message"],
    };
    assert!(said.as_str().unwrap().contains("pause"), "{error}");
}

#[tokio::test]
async fn later_requests_are_answered_at_once_with_the_status_and_the_rest_of_the_pause() {
    for status in [429, 503] {
        let router = Plan::servers(2).start().await;
        for server in 0..2 {
            pause(&router, server, later(status, 60)).await;
        }
        let began = Instant::now();
        for path in PATHS {
            let answer = router.post(path, &chat()).await;
            is_paused(&answer, path, status);
        }
        assert!(began.elapsed() < Duration::from_secs(2), "they waited");
        router.finish().await;
    }
}

#[tokio::test]
async fn of_several_pauses_the_one_that_ends_first_is_said() {
    let router = Plan::servers(2).start().await;
    pause(&router, 0, later(503, 60)).await;
    router.servers[1].fault(later(429, 30).next(1));
    assert_eq!(only(&router, "gpu-1").await.status, 429);
    eventually("both are on record", || {
        let observed = router.app.fleet().observed();
        observed.iter().all(|server| !server.evidence.is_empty())
    })
    .await;
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 429);
    let left: u64 = answer.header("retry-after").parse().unwrap();
    assert!((20..=30).contains(&left), "{left}");
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_is_down_is_none_to_wait_for() {
    let router = Plan::servers(2).start().await;
    pause(&router, 0, later(429, 60)).await;
    router.servers[1].fault(Fault::Refuse);
    eventually("it is down", || {
        let view = router.app.fleet().view();
        !view.servers[1].endpoint.is_up()
    })
    .await;
    let began = Instant::now();
    is_paused(&router.post("/api/chat", &chat()).await, "/api/chat", 429);
    assert!(began.elapsed() < Duration::from_secs(2), "it waited");
    router.servers[1].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn a_server_found_refusing_meanwhile_leaves_the_pause_of_the_others_as_the_answer() {
    let router = Plan::servers(2)
        .set("fleet.probe_interval=10m")
        .start()
        .await;
    pause(&router, 0, later(429, 60)).await;
    router.servers[1].fault(Fault::ResetOnAccept);
    is_paused(&router.post("/api/chat", &chat()).await, "/api/chat", 429);
    router.servers[1].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_is_only_busy_is_waited_for() {
    let router = Plan::servers(2).set("routing.slots=1").start().await;
    assert_eq!(only(&router, "gpu-1").await.status, 200);
    pause(&router, 0, later(503, 60)).await;
    router.servers[1].fault(Fault::Stall { after: 1 }.next(1));
    let mut stream = router.stream("/api/chat", &chat()).await;
    stream.piece().await.unwrap();
    let body = chat();
    let waits = async {
        eventually("it waits", || waiting(&router) == 1).await;
        drop(stream);
    };
    let (answer, ()) = tokio::join!(router.post("/api/chat", &body), waits);
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-herdsman-endpoint")),
        (200, "gpu-1")
    );
    router.finish().await;
}

#[tokio::test]
async fn requests_that_wait_when_the_pause_begins_are_answered_too() {
    let router = Plan::servers(1).set("routing.slots=1").start().await;
    assert_eq!(only(&router, "gpu-0").await.status, 200);
    router.servers[0].fault(Fault::Stall { after: 1 }.next(1));
    let mut stream = router.stream("/api/chat", &chat()).await;
    stream.piece().await.unwrap();
    router.servers[0].fault(later(429, 60));
    let body = chat();
    let waits = async {
        eventually("they wait", || waiting(&router) == 3).await;
        drop(stream);
        Instant::now()
    };
    let post = || router.post("/api/chat", &body);
    let (a, b, c, began) = tokio::join!(post(), post(), post(), waits);
    assert!(began.elapsed() < Duration::from_secs(2), "they waited on");
    assert_eq!([a, b, c].map(|answer| answer.status.as_u16()), [429; 3]);
    router.servers[0].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn the_clients_own_choice_of_servers_counts() {
    let router = Plan::servers(2).start().await;
    pause(&router, 0, later(429, 60)).await;
    is_paused(&only(&router, "gpu-0").await, "/api/chat", 429);
    assert_eq!(only(&router, "gpu-1").await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn when_the_pause_is_over_the_server_is_asked_again() {
    let router = Plan::servers(1).start().await;
    router.servers[0].fault(later(503, 1).next(1));
    assert_eq!(router.post("/api/chat", &chat()).await.status, 503);
    let began = Instant::now();
    while router.post("/api/chat", &chat()).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "it never is");
        // As its client was told.
        sleep(Duration::from_millis(250)).await;
    }
    router.finish().await;
}
