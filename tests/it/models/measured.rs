//! What is measured of these calls.

use bytes::Bytes;
use herdsman_simulator::Fault;
use http::Method;
use serde_json::{Value, json};

use super::{SIZE, delete, named, plan, pulls, send, some_lines, until};
use crate::support::TestRouter;

/// A metric by its name and labels; 0 where there is none.
async fn metric(router: &TestRouter, name: &str, labels: &str) -> u64 {
    let text = router.get("/metrics").await;
    let line = format!("herdsman_{name}{{{labels}}} ");
    let found = text
        .text()
        .lines()
        .find_map(|text| text.strip_prefix(&line));
    found.map_or(0, |number| number.parse().unwrap())
}

async fn calls(router: &TestRouter, call: &str, outcome: &str) -> u64 {
    let labels = format!("call=\"{call}\",outcome=\"{outcome}\"");
    metric(router, "model_calls_total", &labels).await
}

#[tokio::test]
async fn calls_are_counted_by_how_they_ended_with_the_servers_that_failed() {
    let router = plan(2)
        .each(|server| server.pull_bytes_per_second = 5e6)
        .start()
        .await;
    let pull = async || router.post("/api/pull", &named("big")).await;
    router.servers[1].fault(Fault::ErrorLine { after: 2 });
    pull().await;
    assert_eq!(calls(&router, "pull", "partly").await, 1);
    let of_pulls = |server: &str| format!("endpoint=\"{server}\",call=\"pull\"");
    let failures =
        async |server: &str| metric(&router, "model_call_failures_total", &of_pulls(server)).await;
    assert_eq!((failures("gpu-0").await, failures("gpu-1").await), (0, 1));
    router.servers[1].clear_faults();
    pull().await;
    assert_eq!(calls(&router, "pull", "done").await, 1);
    let bytes = async || metric(&router, "model_bytes_total", "call=\"pull\"").await;
    let after = bytes().await;
    assert!((SIZE..=2 * (SIZE + 561)).contains(&after), "{after}");
    pull().await;
    assert_eq!(bytes().await, after, "what was there before is not fetched");
    // Before it begins, and as what its servers say.
    let refused = router.post("/api/pull", &named("a/../b")).await;
    assert_eq!(refused.status, 400);
    router.post("/api/pull", &named("nothing")).await;
    assert_eq!(calls(&router, "pull", "failed").await, 1);

    assert_eq!(delete(&router, named("big")).await.status, 200);
    assert_eq!(delete(&router, named("big")).await.status, 404);
    assert_eq!(calls(&router, "delete", "done").await, 1);
    let copied = json!({"source": "big", "destination": "other"});
    assert_eq!(router.post("/api/copy", &copied).await.status, 404);
    assert_eq!(calls(&router, "copy", "failed").await, 0);
    router.finish().await;
}

#[tokio::test]
async fn a_pull_that_its_reader_leaves_is_cancelled_and_a_removed_server_is_forgotten() {
    let router = plan(2)
        .each(|server| server.pull_bytes_per_second = 1e5)
        .start()
        .await;
    let mut reader = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut reader).await;
    drop(reader);
    let ended = |pulls: &[Value]| pulls[0]["phase"] == "failed";
    until(&router, "the pull has ended", ended).await;
    assert!(!pulls(&router).await.is_empty());
    assert_eq!(calls(&router, "pull", "cancelled").await, 1);

    let server = herdsman_simulator::Simulator::start(herdsman_simulator::Config {
        models: Vec::new(),
        registry: Some(Vec::new()),
        ..herdsman_simulator::Config::default()
    });
    let server = server.await.unwrap();
    let body = json!({"url": server.url(), "name": "added"});
    assert_eq!(
        router
            .admin(Method::POST, "/admin/endpoints", body)
            .await
            .status,
        201
    );
    let on = [("x-herdsman-endpoints", "added")];
    let body = Bytes::from(named("big").to_string());
    send(&router, Method::POST, "/api/pull", &on, body)
        .await
        .whole()
        .await;
    let labels = "endpoint=\"added\",call=\"pull\"";
    assert_eq!(
        metric(&router, "model_call_failures_total", labels).await,
        1
    );
    let path = "/admin/endpoints/added?now=true";
    router.admin(Method::DELETE, path, Value::Null).await;
    while metric(&router, "model_call_failures_total", labels).await > 0 {
        tokio::task::yield_now().await;
    }
    router.finish().await;
    server.stop().await;
}

#[tokio::test]
async fn bytes_of_blobs_are_counted_as_they_are_sent_to_each_server() {
    let router = plan(2).start().await;
    let bytes = Bytes::from_static(b"abc");
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let path = format!("/api/blobs/{digest}");
    let upload = send(&router, Method::POST, &path, &[], bytes).await;
    assert_eq!(upload.whole().await.status, 201);
    assert_eq!(
        metric(&router, "model_bytes_total", "call=\"upload\"").await,
        6
    );
    assert_eq!(calls(&router, "upload", "done").await, 1);
    router.finish().await;
}
