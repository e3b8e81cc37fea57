//! `POST /api/aggregate_time_series_days`: old minutes into days.

use bytes::Bytes;
use herdsman::clock::unix_seconds as now;
use herdsman::domain::TokenCounts;
use herdsman::store::{BatchId, BatchRow, Flush, SealedBatch, Store};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Plan, TestRouter};

const PATH: &str = "/api/aggregate_time_series_days";
const DAY: i64 = 86_400;

/// Three minutes of a day that long ago.
async fn used(router: &TestRouter, days_ago: i64) {
    let midnight = (now() / DAY - days_ago) * DAY;
    let row = |minute: i64| BatchRow {
        endpoint: "gpu-0".into(),
        model: "llama3.2:latest".into(),
        minute: midnight + 60 * minute,
        tokens: TokenCounts {
            input: 10,
            output: 1,
        },
    };
    let id = BatchId {
        producer: Uuid::now_v7(),
        seq: 1,
    };
    let batch = SealedBatch {
        rows: (1..=3).map(row).collect(),
        records: 3,
        ..SealedBatch::empty(id)
    };
    let store = Store::open("", router.dir.path()).await.unwrap();
    let flush = Flush {
        batches: &[batch.into()],
        ..Flush::default()
    };
    store.apply(flush).await.unwrap();
}

/// When there are rows, in days before today, and how much they are together.
async fn series(router: &TestRouter) -> (Vec<i64>, i64) {
    let stats = router
        .post("/api/stats", &json!({"model": "llama3.2"}))
        .await;
    let stats = stats.json();
    let rows = stats["time_series"].as_array().unwrap();
    let of = |row: &Value, key: &str| row[key].as_i64().unwrap();
    let days = rows
        .iter()
        .map(|row| now() / DAY - of(row, "timestamp") / DAY);
    let sum: i64 = rows.iter().map(|row| of(row, "total_tokens")).sum();
    assert_eq!(stats["total_tokens"], sum);
    (days.collect(), sum)
}

fn done(days: u32, trim_old: bool, groups: u64) -> Value {
    json!({"status": "ok", "days": days, "trim_old": trim_old, "aggregated_groups": groups})
}

#[tokio::test]
async fn old_minutes_become_days_when_they_are_to_be_trimmed_and_no_sum_changes() {
    let router = Plan::servers(1).start().await;
    for days_ago in [2, 40, 41] {
        used(&router, days_ago).await;
    }
    let all = (vec![2, 2, 2, 40, 40, 40, 41, 41, 41], 99);
    assert_eq!(series(&router).await, all);
    // What cannot be read asks for the default.
    for body in ["", "{}", "no", r#"{"days": "all", "trim_old": true}"#, "[]"] {
        let answer = router.post_bytes(PATH, body).await;
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.json(), done(30, false, 2), "{body}");
    }
    assert_eq!(series(&router).await, all, "without trim_old they stay");

    let trim = async |days: u32| {
        let asked = json!({"days": days, "trim_old": true});
        router.post(PATH, &asked).await.json()
    };
    assert_eq!(trim(30).await, done(30, true, 2));
    assert_eq!(series(&router).await, (vec![2, 2, 2, 40, 41], 99));
    assert_eq!(trim(30).await, done(30, true, 0), "once");
    assert_eq!(trim(u32::MAX).await, done(u32::MAX, true, 0));
    assert_eq!(trim(0).await, done(0, true, 1));
    assert_eq!(series(&router).await, (vec![2, 40, 41], 99));
    let verified = router.get("/admin/spend/verify").await;
    assert_eq!(
        verified.json()["problems"],
        json!([]),
        "{}",
        verified.text()
    );
    router.finish().await;
}

#[tokio::test]
async fn only_whoever_may_use_the_admin_api_may_fold() {
    let router = Plan::servers(1)
        .set("access.admin_key=secret")
        .start()
        .await;
    let ask = async |name: &str, value: &str| {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{PATH}", router.url()))
            .header(name, value);
        let request = request.body(Full::new(Bytes::new())).unwrap();
        router.request(request).await.whole().await
    };
    let refused = ask("x-request-id", "1").await;
    assert_eq!(refused.status, 401);
    assert!(refused.json()["error"].is_string(), "{}", refused.text());
    assert_eq!(ask("authorization", "Bearer secret").await.status, 200);
    router.finish().await;

    let router = Plan::servers(1).start().await;
    let proxied = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{PATH}", router.url()))
        .header("x-forwarded-for", "10.0.0.7");
    let proxied = proxied.body(Full::new(Bytes::new())).unwrap();
    assert_eq!(router.request(proxied).await.whole().await.status, 403);
    assert_eq!(router.post_bytes(PATH, "").await.status, 200);
    assert_eq!(router.get(PATH).await.status, 405);
    router.finish().await;
}
