//! Usage, health and metrics.

use std::time::Duration;

use herdsman_simulator::Fault;
use serde_json::{Value, json};

use crate::support::{Plan, Stream, eventually};

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]})
}

/// The next event of an SSE stream.
async fn event(stream: &mut Stream, held: &mut String) -> Value {
    loop {
        if let Some((event, rest)) = held.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            *held = rest;
            if let Some(data) = event.strip_prefix("data: ") {
                return serde_json::from_str(data).expect(data);
            }
        } else {
            let piece = stream.piece().await.expect("the stream goes on");
            held.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

#[tokio::test]
async fn the_usage_stream_begins_with_a_snapshot_and_follows_changes() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(2);
        })
        .start()
        .await;
    let (mut watch, mut held) = (
        router
            .send(http::Method::GET, "/api/usage-stream", "".into())
            .await,
        String::new(),
    );
    assert_eq!(watch.headers["content-type"], "text/event-stream");
    let first = event(&mut watch, &mut held).await;
    assert_eq!(
        first,
        json!({"token_usage_counts": {}, "usage_counts": {"gpu-0": {}}})
    );

    let mut running = router.stream("/api/chat", &chat()).await;
    running.piece().await;
    while event(&mut watch, &mut held).await["usage_counts"]["gpu-0"]["llama3.2:latest"] != 1 {}
    let now = router.get("/api/usage").await.json();
    assert_eq!(now["usage_counts"]["gpu-0"]["llama3.2:latest"], 1);

    drop(running);
    loop {
        let seen = event(&mut watch, &mut held).await;
        let tokens = seen["token_usage_counts"]["gpu-0"]["llama3.2:latest"].as_u64();
        if seen["usage_counts"]["gpu-0"]["llama3.2:latest"] == 0 && tokens > Some(0) {
            break;
        }
    }
    drop(watch);
    router.finish().await;
}

#[tokio::test]
async fn an_open_usage_stream_does_not_delay_the_shutdown() {
    let router = Plan::servers(1).start().await;
    let mut watch = router
        .send(http::Method::GET, "/api/usage-stream", "".into())
        .await;
    watch.piece().await;
    let (rest, ()) = tokio::join!(watch.whole(), router.app.shutdown());
    assert!(!rest.broken);
}

#[tokio::test]
async fn health_lists_every_server() {
    let router = Plan::servers(2).start().await;
    assert_eq!(router.get("/health/live").await.status, 200);
    assert_eq!(router.get("/health/ready").await.status, 200);
    let health = router.get("/health").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json()["endpoints"]["gpu-1"]["status"], "ok");
    assert_eq!(health.json()["states"]["ok"], 2);
    router.servers[1].fault(Fault::Refuse);
    eventually("found down", || {
        !router.app.fleet().view().servers[1].endpoint.is_up()
    })
    .await;
    while router.get("/health").await.json()["endpoints"]["gpu-1"]["status"] != "error" {
        tokio::task::yield_now().await;
    }
    let config = router.get("/api/config").await.json();
    assert_eq!(config["endpoints"][0]["status"], "ok");
    assert_eq!(config["endpoints"][1]["status"], "error");
    assert_eq!(config["require_router_api_key"], false);
    router.servers[1].clear_faults();
    router.finish().await;
}

/// Renaming a metric is a breaking change: this list is the contract.
#[tokio::test]
async fn the_metrics_keep_their_names_and_count() {
    let router = Plan::servers(1)
        .set("metrics.litellm_names=true")
        .start()
        .await;
    for _ in 0..3 {
        router.post("/api/chat", &chat()).await;
    }
    router.post("/api/chat", &json!({"model": "none"})).await;
    router.counted().await;
    router.at_rest().await;
    let metrics = router.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = metrics.text();
    for line in [
        "herdsman_requests_total{endpoint=\"gpu-0\",model=\"llama3.2:latest\",path=\"/api/chat\",status=\"200\"} 3",
        "herdsman_requests_total{endpoint=\"\",model=\"unknown\",path=\"/api/chat\",status=\"404\"} 1",
        "herdsman_in_flight{endpoint=\"gpu-0\",model=\"llama3.2:latest\"} 0",
        "herdsman_endpoint_up{endpoint=\"gpu-0\"} 1",
        "herdsman_tokens_total{endpoint=\"gpu-0\",model=\"llama3.2:latest\",direction=\"output\"} 24",
        "herdsman_pod_lock_manager_size 1",
        "litellm_pod_lock_manager_size 1",
        "litellm_in_memory_spend_update_queue_size 0",
        "herdsman_in_memory_spend_update_queue_size 0",
        "herdsman_redis_spend_update_queue_size 0",
        "herdsman_in_memory_daily_spend_update_queue_size 0",
        "herdsman_redis_daily_spend_update_queue_size 0",
        "herdsman_spend_records_recorded_total 3",
        "herdsman_spend_records_committed_total 3",
        "herdsman_spend_records_dead_lettered_total 0",
        "herdsman_spend_oldest_unflushed_seconds 0",
    ] {
        assert!(
            text.lines()
                .any(|is| is == line || is == format!("{line}.0")),
            "{line}\nnot in\n{text}"
        );
    }
    for name in [
        "request_seconds_count",
        "first_byte_seconds_count",
        "queue_seconds_count",
        "overhead_seconds_count",
        "spend_flush_seconds_count",
        "spend_records_pending_total",
    ] {
        assert!(
            text.contains(&format!("herdsman_{name}")),
            "{name} not in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
    router.finish().await;
}

#[tokio::test]
async fn the_usage_stream_returns_to_zero_for_a_client_that_left_before_its_first_byte() {
    let router = Plan::servers(1).start().await;
    router.servers[0].fault(Fault::Stall { after: 0 });
    let (mut watch, mut held) = (
        router
            .send(http::Method::GET, "/api/usage-stream", "".into())
            .await,
        String::new(),
    );
    let body = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "x"}]});
    {
        let request = router.post("/api/chat", &body);
        tokio::pin!(request);
        let running = async {
            while event(&mut watch, &mut held).await["usage_counts"]["gpu-0"]["llama3.2:latest"]
                != 1
            {}
        };
        tokio::select! {
            _ = &mut request => panic!("it cannot be answered"),
            () = running => {}
        }
    }
    while event(&mut watch, &mut held).await["usage_counts"]["gpu-0"]["llama3.2:latest"] != 0 {}
    drop(watch);
    router.servers[0].clear_faults();
    router.finish().await;
}
