//! Answers that a server computes to their end though their client has left, and servers that only hang.

use std::time::Duration;

use herdsman::config::Kind;
use herdsman_simulator::Fault;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{Plan, TestRouter, eventually};

const PATH: &str = "/v1/chat/completions";

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]})
}

fn servers(n: usize) -> Plan {
    let mut plan = Plan::servers(n).set("fleet.probe_interval=10m");
    for i in 0..n {
        plan = plan.endpoint(i, move |endpoint| {
            endpoint.kind = Kind::OpenAi;
            endpoint.priority = i32::try_from(i).unwrap();
        });
    }
    plan
}

/// A request whose client leaves after so long.
async fn leaves(router: &TestRouter, after: Duration) {
    let body = chat();
    let request = router.post(PATH, &body);
    assert!(timeout(after, request).await.is_err(), "it was answered");
}

fn on_record(router: &TestRouter) -> usize {
    let observed = router.app.fleet().observed();
    observed.iter().map(|server| server.evidence.len()).sum()
}

/// Warm or not, with or without an idea of how long answers take.
#[tokio::test]
async fn clients_that_leave_late_are_evidence_and_their_slots_are_free() {
    for is_known in [false, true] {
        let router = servers(2).start().await;
        if is_known {
            assert_eq!(router.post(PATH, &chat()).await.status, 200);
        }
        router.servers[0].fault(Fault::Stall { after: 0 });
        for _ in 0..3 {
            leaves(&router, Duration::from_millis(1_200)).await;
        }
        eventually("it is on record", || on_record(&router) == 1).await;
        eventually("all slots are free", || router.in_flight() == 0).await;
        let answer = router.post(PATH, &chat()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-herdsman-endpoint")),
            (200, "gpu-1"),
            "{is_known}"
        );
        router.servers[0].clear_faults();
        router.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_keeps_the_slot_of_a_client_that_has_left_until_it_is_late() {
    let router = servers(1).set("routing.slots=1").start().await;
    assert_eq!(router.post(PATH, &chat()).await.status, 200);
    router.servers[0].fault(Fault::Stall { after: 0 });
    let began = Instant::now();
    for _ in 0..2 {
        leaves(&router, Duration::from_millis(300)).await;
        assert_eq!(router.in_flight(), 1, "it may be computed");
        eventually("the slot is free", || router.in_flight() == 0).await;
    }
    // 3 times the usual, which is next to nothing, or a second.
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );
    assert_eq!(on_record(&router), 0, "two are no evidence");
    leaves(&router, Duration::from_millis(300)).await;
    eventually("three are", || on_record(&router) == 1).await;
    router.servers[0].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn the_trial_of_a_server_that_hangs_ends_with_its_client() {
    let router = servers(1).start().await;
    router.servers[0].fault(Fault::Reset { after: 0 }.next(1));
    assert_eq!(router.post(PATH, &chat()).await.status, 502);
    eventually("it is on record", || on_record(&router) == 1).await;
    router.servers[0].fault(Fault::Stall { after: 0 }.next(1));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    leaves(&router, Duration::from_millis(200)).await;
    eventually("its slot is free", || router.in_flight() == 0).await;
    assert_eq!(router.post(PATH, &chat()).await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_computed_without_its_client_holds_its_slot_and_is_counted() {
    let router = servers(1)
        .each(|server| {
            server.default_predict = 40;
            server.decode_interval = Duration::from_millis(20);
        })
        .start()
        .await;
    leaves(&router, Duration::from_millis(200)).await;
    assert_eq!(router.in_flight(), 1);
    router.at_rest().await;
    assert_eq!(router.servers[0].counters().cancelled, 0);
    let (input, output) = router.counted().await;
    assert!(input > 0 && output == 40, "{input} {output}");
    router.finish().await;
}

#[tokio::test]
async fn an_operator_ends_what_would_outlive_its_client() {
    let router = servers(1)
        .each(|server| {
            server.default_predict = 1_000;
            server.decode_interval = Duration::from_millis(20);
        })
        .start()
        .await;
    for leaves_first in [true, false] {
        let body = chat();
        let mut request = Box::pin(router.post(PATH, &body));
        assert!(
            timeout(Duration::from_millis(200), &mut request)
                .await
                .is_err()
        );
        let answer = (!leaves_first).then_some(request);
        assert_eq!(router.in_flight(), 1);
        let open = router.get("/admin/requests").await.json();
        let path = format!(
            "/admin/requests/{}",
            open["requests"][0]["id"].as_str().unwrap()
        );
        let cancelled = router.admin(http::Method::DELETE, &path, Value::Null).await;
        assert_eq!(cancelled.status, 200, "{}", cancelled.text());
        if let Some(answer) = answer {
            assert_eq!(answer.await.status, 403);
        }
        // Its answer takes twenty seconds.
        let began = Instant::now();
        eventually("its slot is free", || router.in_flight() == 0).await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
    router.finish().await;
}
