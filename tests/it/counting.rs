//! Every token, once.

use std::time::Duration;

use herdsman_simulator::prompt_tokens;
use serde_json::{Value, json};

use crate::support::{Plan, eventually};

fn chat(stream: bool) -> Value {
    json!({"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": "hi there"}]})
}

/// Every call that is answered with tokens, streamed and not.
fn calls() -> [(&'static str, Value); 10] {
    let prompt =
        |stream: bool| json!({"model": "llama3.2", "stream": stream, "prompt": "hi there"});
    [
        ("/api/chat", chat(true)),
        ("/api/chat", chat(false)),
        ("/api/generate", prompt(true)),
        ("/api/generate", prompt(false)),
        (
            "/api/embed",
            json!({"model": "llama3.2", "input": ["hi", "there"]}),
        ),
        ("/v1/chat/completions", chat(true)),
        ("/v1/chat/completions", chat(false)),
        ("/v1/completions", prompt(true)),
        ("/v1/completions", prompt(false)),
        (
            "/v1/embeddings",
            json!({"model": "llama3.2", "input": "hi there"}),
        ),
    ]
}

#[tokio::test]
async fn every_path_counts_what_the_server_reported() {
    let router = Plan::servers(1).start().await;
    let mut before = (0, 0);
    for (path, body) in calls() {
        assert_eq!(router.post(path, &body).await.status, 200, "{path}");
        let after = router.counted().await;
        let output = if path.contains("embed") { 0 } else { 8 };
        assert!(after.0 > before.0, "{path} {body}: no input counted");
        assert_eq!(after.1 - before.1, output, "{path} {body}");
        before = after;
    }
    let said = &router.servers[0].counters().models["llama3.2:latest"];
    let said = (
        i64::try_from(said.prompt_tokens).unwrap(),
        i64::try_from(said.eval_tokens).unwrap(),
    );
    assert_eq!(before, said, "the router's count and the server's");
    router.finish().await;
}

/// One of the ways to count twice (`D8`): the usage of an answer is recorded by more than one of the
/// attempts that handled it.
#[tokio::test]
async fn d8_one_answer_is_one_record() {
    let router = Plan::servers(1).start().await;
    for ((path, body), n) in calls().into_iter().zip(1..) {
        assert_eq!(router.post(path, &body).await.status, 200, "{path}");
        router.counted().await;
        let stats = router.app.spend().stats();
        let records = (stats.recorded(), stats.committed());
        assert_eq!(records, (n, n), "{path} {body}");
        let report = router
            .get("/admin/spend?group_by=kind&kind=key")
            .await
            .json();
        assert_eq!(report["items"][0]["requests"], n, "{path} {body}: {report}");
    }
    router.finish().await;
}

#[tokio::test]
async fn the_old_embeddings_call_reports_no_usage_and_is_estimated() {
    let router = Plan::servers(1).start().await;
    let body = json!({"model": "llama3.2", "prompt": "sixteen letters."});
    assert_eq!(router.post("/api/embeddings", &body).await.status, 200);
    assert_eq!(router.counted().await, (4, 0));
    let metrics = router.get("/metrics").await;
    assert!(
        metrics
            .text()
            .contains("herdsman_estimated_records_total 1"),
        "{}",
        metrics.text()
    );
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_left_early_is_counted_by_what_it_got() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(2);
        })
        .start()
        .await;
    let mut stream = router.stream("/api/chat", &chat(true)).await;
    let mut seen = 0;
    while seen < 5 {
        seen += stream
            .piece()
            .await
            .unwrap()
            .iter()
            .filter(|b| **b == b'\n')
            .count();
    }
    drop(stream);
    router.at_rest().await;
    let (input, output) = router.counted().await;
    let sent = i64::try_from(router.servers[0].counters().wasted_tokens).unwrap();
    assert!(
        input > 0 && output >= 5 && output <= sent.max(5) + 1,
        "{input} {output} of {sent}"
    );
    router.finish().await;
}

#[tokio::test]
async fn counts_are_in_the_database_by_minute_and_model() {
    let router = Plan::servers(2).start().await;
    for _ in 0..4 {
        router.post("/api/chat", &chat(true)).await;
    }
    router.counted().await;
    let stats = router
        .post("/api/stats", &json!({"model": "LLAMA3.2"}))
        .await
        .json();
    assert_eq!(stats["output_tokens"], 32);
    let minutes = stats["time_series"].as_array().unwrap();
    let total: i64 = minutes
        .iter()
        .map(|minute| minute["output_tokens"].as_i64().unwrap())
        .sum();
    assert_eq!(total, 32);
    assert!(
        minutes
            .iter()
            .all(|minute| minute["timestamp"].as_i64().unwrap() % 60 == 0)
    );
    assert_eq!(
        router
            .post("/api/stats?model=llama3.2", &json!(null))
            .await
            .status,
        200
    );
    assert_eq!(
        router
            .post("/api/stats", &json!({"model": "never"}))
            .await
            .status,
        404
    );
    assert_eq!(router.post("/api/stats", &json!({})).await.status, 400);
    router.finish().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_written_stops_nothing_and_loses_nothing() {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};

    let router = Plan::servers(1).start().await;
    let file = router.dir.path().join(herdsman::store::SQLITE_FILE);
    let mut other = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    for _ in 0..50 {
        let answer = router.post("/api/chat", &chat(true)).await;
        assert_eq!(answer.lines().last().unwrap()["done"], true);
    }
    assert!(router.app.spend().stats().pending() >= 50);
    other.batch_execute("ROLLBACK").unwrap();
    drop(other);
    assert_eq!(router.counted().await.1, 50 * 8);
    router.finish().await;
}

#[tokio::test]
async fn killed_actors_of_the_pipeline_leave_the_count_exact() {
    let router = Plan::servers(1).start().await;
    for i in 0..60 {
        match i % 20 {
            5 => router.app.spend().kill_sealing_actor(),
            15 => router.app.spend().kill_flush_actor(),
            _ => {}
        }
        assert_eq!(
            router.post("/api/chat", &chat(i % 2 == 0)).await.status,
            200
        );
    }
    assert_eq!(router.counted().await.1, 60 * 8);
    eventually("nothing is pending", || {
        router.app.spend().stats().pending() == 0
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn the_simulated_prompt_count_is_what_a_client_can_compute() {
    let router = Plan::servers(1).start().await;
    router
        .post(
            "/api/generate",
            &json!({"model": "llama3.2", "prompt": "hi there", "raw": true}),
        )
        .await;
    let (input, _) = router.counted().await;
    assert_eq!(u64::try_from(input).unwrap(), prompt_tokens(["hi there"]));
    router.finish().await;
}
