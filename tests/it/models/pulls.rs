//! Pulls that operators start.

use http::Method;
use serde_json::{Value, json};

use super::{models_of, named, plan, some_lines, until};
use crate::support::{Answer, TestRouter};

async fn begin(router: &TestRouter, body: Value) -> u64 {
    let answer = router.post("/admin/pulls", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_u64().unwrap()
}

async fn end(router: &TestRouter, id: u64) -> Answer {
    let path = format!("/admin/pulls/{id}");
    router
        .send(Method::DELETE, &path, "".into())
        .await
        .whole()
        .await
}

#[tokio::test]
async fn a_pull_outlives_its_caller_and_is_shown_while_it_runs_and_after() {
    let router = plan(2)
        .each(|server| server.pull_bytes_per_second = 2e6)
        .start()
        .await;
    let id = begin(&router, json!({"model": "big", "endpoints": ["gpu-1"]})).await;
    assert_eq!(
        begin(&router, json!({"model": "BIG", "endpoints": ["gpu-1"]})).await,
        id,
        "the same"
    );
    let shown = until(&router, "it moves", |pulls| pulls[0]["completed"] != 0).await;
    assert_eq!(shown[0]["id"], id);
    assert_eq!(
        (&shown[0]["model"], &shown[0]["kept"]),
        (&json!("big"), &json!(true))
    );
    assert_eq!(shown[0]["endpoints"][0]["endpoint"], "gpu-1");
    let shown = until(&router, "it is done", |pulls| pulls[0]["phase"] == "done").await;
    assert_eq!(shown[0]["completed"], shown[0]["total"]);
    assert_eq!(models_of(&router, 1).await, ["big:latest"]);
    assert!(models_of(&router, 0).await.is_empty());
    assert_eq!(end(&router, id).await.status, 200);
    until(&router, "it is forgotten", <[Value]>::is_empty).await;
    router.finish().await;
}

#[tokio::test]
async fn a_pull_is_ended_by_its_number_and_its_readers_are_told() {
    let router = plan(1)
        .each(|server| server.pull_bytes_per_second = 1e3)
        .start()
        .await;
    let mut stream = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut stream).await;
    // An operator wants it too: it would outlive its reader.
    let id = begin(&router, named("big")).await;
    assert_eq!(end(&router, id).await.status, 200);
    let last = loop {
        match some_lines(&mut stream).await {
            lines if lines.is_empty() => panic!("no last line"),
            lines if lines.iter().any(|line| line.get("error").is_some()) => break lines,
            _ => {}
        }
    };
    assert_eq!(last.last().unwrap()["error"], "pull of 'big' was cancelled");
    let shown = until(&router, "it has ended", |pulls| {
        pulls[0]["phase"] == "failed"
    })
    .await;
    assert_eq!(shown[0]["error"], "pull of 'big' was cancelled");
    router.finish().await;
}

#[tokio::test]
async fn what_cannot_be_pulled_is_refused() {
    let router = plan(1).start().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({"model": "a b"}), 400),
        (json!({"model": "a", "endpoint": []}), 400),
        (json!({"model": "a", "endpoints": ["nowhere"]}), 400),
    ] {
        let answer = router.post("/admin/pulls", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(end(&router, 7).await.status, 404);
    until(&router, "there is none", <[Value]>::is_empty).await;
    router.finish().await;
}
