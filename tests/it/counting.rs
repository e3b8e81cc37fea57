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
async fn every_path_counts_what_the_server_said() {
    let herd = Plan::servers(1).start().await;
    let mut before = (0, 0);
    for (path, body) in calls() {
        assert_eq!(herd.post(path, &body).await.status, 200, "{path}");
        let after = herd.counted().await;
        let output = if path.contains("embed") { 0 } else { 8 };
        assert!(after.0 > before.0, "{path} {body}: no input counted");
        assert_eq!(after.1 - before.1, output, "{path} {body}");
        before = after;
    }
    let said = &herd.servers[0].counters().models["llama3.2:latest"];
    let said = (
        i64::try_from(said.prompt_tokens).unwrap(),
        i64::try_from(said.eval_tokens).unwrap(),
    );
    assert_eq!(before, said, "the router's count and the server's");
    herd.finish().await;
}

/// One of the ways to count twice (`D8`): what an answer used is recorded by more than one of those
/// who had it in hand.
#[tokio::test]
async fn d8_one_answer_is_one_record() {
    let herd = Plan::servers(1).start().await;
    for ((path, body), n) in calls().into_iter().zip(1..) {
        assert_eq!(herd.post(path, &body).await.status, 200, "{path}");
        herd.counted().await;
        let stats = herd.app.spend().stats();
        let records = (stats.recorded(), stats.committed());
        assert_eq!(records, (n, n), "{path} {body}");
        let report = herd.get("/admin/spend?group_by=kind&kind=key").await.json();
        assert_eq!(report["items"][0]["requests"], n, "{path} {body}: {report}");
    }
    herd.finish().await;
}

#[tokio::test]
async fn the_old_embeddings_call_says_nothing_and_is_estimated() {
    let herd = Plan::servers(1).start().await;
    let body = json!({"model": "llama3.2", "prompt": "sixteen letters."});
    assert_eq!(herd.post("/api/embeddings", &body).await.status, 200);
    assert_eq!(herd.counted().await, (4, 0));
    let metrics = herd.get("/metrics").await;
    assert!(
        metrics
            .text()
            .contains("herdsman_estimated_records_total 1"),
        "{}",
        metrics.text()
    );
    herd.finish().await;
}

#[tokio::test]
async fn a_client_that_left_early_is_counted_by_what_it_got() {
    let herd = Plan::servers(1)
        .each(|server| {
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(2);
        })
        .start()
        .await;
    let mut stream = herd.stream("/api/chat", &chat(true)).await;
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
    herd.at_rest().await;
    let (input, output) = herd.counted().await;
    let sent = i64::try_from(herd.servers[0].counters().wasted_tokens).unwrap();
    assert!(
        input > 0 && output >= 5 && output <= sent.max(5) + 1,
        "{input} {output} of {sent}"
    );
    herd.finish().await;
}

#[tokio::test]
async fn counts_are_in_the_database_by_minute_and_model() {
    let herd = Plan::servers(2).start().await;
    for _ in 0..4 {
        herd.post("/api/chat", &chat(true)).await;
    }
    herd.counted().await;
    let stats = herd
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
        herd.post("/api/stats?model=llama3.2", &json!(null))
            .await
            .status,
        200
    );
    assert_eq!(
        herd.post("/api/stats", &json!({"model": "never"}))
            .await
            .status,
        404
    );
    assert_eq!(herd.post("/api/stats", &json!({})).await.status, 400);
    herd.finish().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_written_stops_nothing_and_loses_nothing() {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, SqliteConnection};

    let herd = Plan::servers(1).start().await;
    let file = herd.dir.path().join(herdsman::store::SQLITE_FILE);
    let mut other = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    for _ in 0..50 {
        let answer = herd.post("/api/chat", &chat(true)).await;
        assert_eq!(answer.lines().last().unwrap()["done"], true);
    }
    assert!(herd.app.spend().stats().pending() >= 50);
    other.batch_execute("ROLLBACK").unwrap();
    drop(other);
    assert_eq!(herd.counted().await.1, 50 * 8);
    herd.finish().await;
}

#[tokio::test]
async fn actors_of_the_pipeline_may_die_and_the_count_is_exact() {
    let herd = Plan::servers(1).start().await;
    for i in 0..60 {
        match i % 20 {
            5 => herd.app.spend().kill_forward_actor(),
            15 => herd.app.spend().kill_flush_actor(),
            _ => {}
        }
        assert_eq!(herd.post("/api/chat", &chat(i % 2 == 0)).await.status, 200);
    }
    assert_eq!(herd.counted().await.1, 60 * 8);
    eventually("nothing is pending", || {
        herd.app.spend().stats().pending() == 0
    })
    .await;
    herd.finish().await;
}

#[tokio::test]
async fn the_simulated_prompt_count_is_what_a_client_can_compute() {
    let herd = Plan::servers(1).start().await;
    herd.post(
        "/api/generate",
        &json!({"model": "llama3.2", "prompt": "hi there", "raw": true}),
    )
    .await;
    let (input, _) = herd.counted().await;
    assert_eq!(u64::try_from(input).unwrap(), prompt_tokens(["hi there"]));
    herd.finish().await;
}
