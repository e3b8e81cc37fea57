//! Which server a request goes to, and which request is next when no slot is free.

use std::time::Duration;

use futures_util::future::join_all;
use herdsman_simulator::{Fault, Model, Simulator};
use serde_json::{Value, json};

use crate::support::{Plan, TestRouter, eventually};

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn a_server_that_has_the_model_loaded_is_preferred() {
    let router = Plan::servers(3).start().await;
    let first = router.post("/api/chat", &chat("llama3.2", "a")).await;
    let home = first.header("x-herdsman-endpoint").to_owned();
    for _ in 0..10 {
        let answer = router.post("/api/chat", &chat("llama3.2", "a")).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), home);
    }
    assert_eq!(
        router
            .servers
            .iter()
            .map(|server| server.counters().loads)
            .sum::<u64>(),
        1
    );
    router.finish().await;
}

#[tokio::test]
async fn no_server_gets_more_than_its_slots_and_every_request_is_served() {
    let router = Plan::servers(2)
        .each(|server| {
            server.parallel = 2;
            server.decode_interval = Duration::from_millis(2);
        })
        .set("routing.slots=2")
        .start()
        .await;
    let body = chat("llama3.2", "a");
    let counters = |router: &TestRouter| -> Vec<_> {
        router.servers.iter().map(Simulator::counters).collect()
    };
    // Both have it loaded, so that no request waits for a load.
    while counters(&router).iter().any(|counters| counters.loads == 0) {
        join_all((0..4).map(|_| router.post("/api/chat", &body))).await;
    }
    let before = counters(&router);
    let answers = join_all((0..40).map(|_| router.post("/api/chat", &body))).await;
    for answer in &answers {
        assert_eq!(answer.lines().last().unwrap()["done"], true);
    }
    assert!(
        answers
            .iter()
            .any(|answer| answer.header("x-herdsman-route") == "queued")
    );
    for server in &router.servers {
        let counters = server.counters();
        assert!(counters.max_concurrent <= 2, "{counters:?}");
        // Two may have waited for the first load; no request ever waits for a slot there.
        assert!(counters.max_waiting <= 2, "{counters:?}");
    }
    let now = counters(&router);
    assert!(
        now.iter()
            .zip(&before)
            .all(|(now, then)| now.finished > then.finished),
        "both work"
    );
    router.finish().await;
}

#[tokio::test]
async fn the_longest_waiting_request_is_next() {
    let router = Plan::servers(1)
        .each(|server| {
            server.parallel = 1;
            server.decode_interval = Duration::from_millis(1);
        })
        .set("routing.slots=1")
        .start()
        .await;
    router.servers[0].fault(Fault::Stall { after: 1 }.next(1));
    let body = chat("llama3.2", "a");
    let mut running = router.stream("/api/chat", &body).await;
    running.piece().await;
    let order = std::cell::RefCell::new(Vec::new());
    let waiters = (0..12_usize).map(|i| {
        let (router, body, order) = (&router, &body, &order);
        async move {
            eventually("it is in the queue", || waiting(router) == i).await;
            let answer = router.post("/api/chat", body).await;
            order.borrow_mut().push(i);
            assert_eq!(answer.header("x-herdsman-route"), "queued");
        }
    });
    let leave = async {
        eventually("all wait", || waiting(&router) == 12).await;
        drop(running);
    };
    tokio::join!(join_all(waiters), leave);
    assert_eq!(*order.borrow(), (0..12).collect::<Vec<_>>());
    router.finish().await;
}

fn waiting(router: &TestRouter) -> usize {
    router
        .app
        .fleet()
        .queue_lengths()
        .iter()
        .map(|(_, n)| n)
        .sum()
}

#[tokio::test]
async fn a_full_queue_and_a_queue_timeout_are_reported_with_ollamas_texts() {
    let router = Plan::servers(1)
        .set("routing.slots=1")
        .set("routing.queue_limit=1")
        .set("routing.queue_timeout=200ms")
        .start()
        .await;
    router.servers[0].fault(Fault::Stall { after: 1 });
    let body = chat("llama3.2", "a");
    let mut running = router.stream("/api/chat", &body).await;
    running.piece().await;
    let late = router.post("/api/chat", &body);
    let full = async {
        eventually("one waits", || waiting(&router) == 1).await;
        router.post("/api/chat", &body).await
    };
    let (late, full) = tokio::join!(late, full);
    for refused in [&late, &full] {
        assert_eq!(refused.status, 503);
        assert_eq!(
            refused.json(),
            json!({"error": "server busy, please try again.  maximum pending requests exceeded"})
        );
        assert!(!refused.header("retry-after").is_empty());
    }
    let openai = router.post("/v1/chat/completions", &body).await;
    assert_eq!(openai.json()["error"]["type"], "api_error");
    drop(running);
    router.finish().await;
}

#[tokio::test]
async fn one_cold_load_at_a_time_and_never_on_the_busiest() {
    let router = Plan::servers(2)
        .each(|server| {
            server.models = (0..4).map(|i| Model::named(format!("m{i}"))).collect();
            server.load = Duration::from_millis(200);
            server.decode_interval = Duration::from_millis(2);
        })
        .start()
        .await;
    let bodies: Vec<_> = (0..4).map(|i| chat(&format!("m{i}"), "a")).collect();
    let answers = join_all(bodies.iter().map(|body| router.post("/api/chat", body))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    for server in &router.servers {
        let counters = server.counters();
        // The request that loads waits for its own load; a second cold request would have waited
        // behind it.
        assert_eq!(counters.loads, 2, "{counters:?}");
        assert!(counters.max_waiting <= 1, "{counters:?}");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_lower_priority_number_is_used_until_it_is_busy_or_down() {
    let router = Plan::servers(2)
        .endpoint(0, |endpoint| endpoint.priority = 1)
        .set("routing.slots=1")
        .start()
        .await;
    router.servers[1].fault(Fault::Stall { after: 1 }.next(1));
    let body = chat("llama3.2", "a");
    let mut first = router.stream("/api/chat", &body).await;
    first.piece().await;
    assert_eq!(first.headers["x-herdsman-endpoint"], "gpu-1");
    let second = router.post("/api/chat", &body).await;
    assert_eq!(second.header("x-herdsman-endpoint"), "gpu-0");
    drop(first);
    router.at_rest().await;
    let third = router.post("/api/chat", &body).await;
    assert_eq!(third.header("x-herdsman-endpoint"), "gpu-1");
    router.finish().await;
}

#[tokio::test]
async fn a_long_answer_that_is_not_streamed_does_not_look_like_a_long_load() {
    let router = Plan::servers(1)
        .each(|server| server.models = vec![Model::named("long"), Model::named("short")])
        .start()
        .await;
    router.servers[0].fault(Fault::Stall { after: 1 }.on("long"));
    let long =
        json!({"model": "long", "stream": false, "messages": [{"role": "user", "content": "x"}]});
    let endless = router.post("/api/chat", &long);
    let other = async {
        eventually("the long one runs", || router.in_flight() == 1).await;
        router.post("/api/chat", &chat("short", "a")).await
    };
    tokio::pin!(endless);
    let served = tokio::select! {
        _ = &mut endless => panic!("it cannot end"),
        served = other => served,
    };
    assert_eq!(served.status, 200);
}
