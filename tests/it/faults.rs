//! A failure is blamed on the party that it is of: the request, one model on one server, or the server.

use std::time::Duration;

use futures_util::future::join_all;
use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::access_shared::unix_now;
use crate::support::{Answer, Plan, TEST_TIMEOUT, TestRouter, eventually};

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Fault::Answer {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.to_owned(),
    }
}

/// Loads the model on that server.
async fn warm(router: &TestRouter, endpoint: &str) {
    let answer = only(router, endpoint).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn only(router: &TestRouter, endpoint: &str) -> Answer {
    let request = http::Request::post(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", endpoint)
        .body(chat("llama3.2").to_string().into())
        .unwrap();
    router.request(request).await.whole().await
}

/// The models that are on record as failing.
fn failing(router: &TestRouter) -> usize {
    let observed = router.app.fleet().observed();
    observed.iter().map(|server| server.evidence.len()).sum()
}

/// Requests that servers have begun.
fn started(router: &TestRouter) -> u64 {
    let servers = router.servers.iter();
    servers.map(|server| server.counters().started).sum()
}

fn clear(router: &TestRouter) {
    for server in &router.servers {
        server.clear_faults();
    }
}

#[tokio::test]
async fn a_request_that_two_servers_answer_alike_gets_that_answer_and_blames_nobody() {
    for status in [500, 501] {
        let router = Plan::servers(3).start().await;
        for (i, server) in router.servers.iter().enumerate() {
            warm(&router, &format!("gpu-{i}")).await;
            // Ports and sizes differ.
            let said = format!(r#"{{"error":"template: {i}: unexpected EOF"}}"#);
            server.fault(answer(status, &[], &said));
        }
        let answer = router.post("/api/chat", &chat("llama3.2")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(
            answer.text().contains("unexpected EOF"),
            "{}",
            answer.text()
        );
        router.at_rest().await;
        assert_eq!(started(&router), 3 + 2, "the third is not asked");
        assert_eq!(failing(&router), 0);
        router.finish().await;
    }
}

#[tokio::test]
async fn an_error_that_another_server_does_not_have_counts_against_the_one_that_had_it() {
    let router = Plan::servers(2).start().await;
    warm(&router, "gpu-0").await;
    router.servers[0].fault(Fault::InternalError);
    let answer = router.post("/api/chat", &chat("llama3.2")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-herdsman-endpoint")),
        (200, "gpu-1")
    );
    eventually("it is on record", || failing(&router) == 1).await;
    clear(&router);
    router.finish().await;
}

#[tokio::test]
async fn servers_that_fail_in_different_ways_are_both_on_record() {
    let router = Plan::servers(2).start().await;
    for (i, said) in ["one", "another"].iter().enumerate() {
        warm(&router, &format!("gpu-{i}")).await;
        router.servers[i].fault(answer(500, &[], said));
    }
    let answer = router.post("/api/chat", &chat("llama3.2")).await;
    assert_eq!(answer.status, 500);
    eventually("both are on record", || failing(&router) == 2).await;
    clear(&router);
    router.finish().await;
}

#[tokio::test]
async fn failed_loads_are_never_alike() {
    let router = Plan::servers(2).start().await;
    router
        .servers
        .iter()
        .for_each(|server| server.fault(Fault::LoadFailure));
    let answer = router.post("/api/chat", &chat("llama3.2")).await;
    assert_eq!(answer.status, 500);
    eventually("both are on record", || failing(&router) == 2).await;
    clear(&router);
    router.finish().await;
}

#[tokio::test]
async fn requests_that_fail_everywhere_delay_no_other() {
    let router = Plan::servers(1).start().await;
    warm(&router, "gpu-0").await;
    for _ in 0..10 {
        router.servers[0].fault(Fault::InternalError.next(1));
        assert_eq!(
            router.post("/api/chat", &chat("llama3.2")).await.status,
            500
        );
    }
    let began = Instant::now();
    let good = (0..4).map(|_| async { router.post("/api/chat", &chat("llama3.2")).await.status });
    assert_eq!(join_all(good).await, [200; 4]);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(failing(&router), 0);
    router.finish().await;
}

#[tokio::test]
async fn a_running_stream_takes_nothing_from_the_trial_of_a_model_that_failed() {
    let plan = Plan::servers(1).each(|server| server.parallel = 2);
    let router = plan.set("routing.slots=2").start().await;
    warm(&router, "gpu-0").await;
    router.servers[0].fault(Fault::Stall { after: 1 }.next(1));
    let mut stream = router.stream("/api/chat", &chat("llama3.2")).await;
    stream.piece().await.unwrap();
    router.servers[0].fault(Fault::Reset { after: 0 }.next(1));
    assert_eq!(
        router.post("/api/chat", &chat("llama3.2")).await.status,
        502
    );
    eventually("it is on record", || failing(&router) == 1).await;
    let body = chat("llama3.2");
    let served = router.post("/api/chat", &body);
    assert_eq!(timeout(TEST_TIMEOUT, served).await.unwrap().status, 200);
    drop(stream);
    router.finish().await;
}

/// A trial that is not streamed and takes long.
#[tokio::test]
async fn a_trial_that_takes_long_keeps_others_waiting_for_a_moment_only() {
    let plan = Plan::servers(1).each(|server| server.parallel = 4);
    let router = plan.set("routing.slots=4").start().await;
    warm(&router, "gpu-0").await;
    router.servers[0].fault(Fault::Reset { after: 0 }.next(1));
    let body = chat("llama3.2");
    assert_eq!(router.post("/api/chat", &body).await.status, 502);
    eventually("the pause is over", || {
        let observed = router.app.fleet().observed();
        let now = unix_now();
        let mut evidence = observed[0].evidence.iter();
        evidence.any(|failing| failing.until < now)
    })
    .await;
    router.servers[0].fault(Fault::Stall { after: 0 }.next(1));
    let trial = router.post("/api/chat", &body);
    let others = async {
        eventually("the trial has begun", || router.in_flight() == 1).await;
        let began = Instant::now();
        assert_eq!(router.post("/api/chat", &body).await.status, 200);
        began.elapsed()
    };
    tokio::select! {
        answer = trial => panic!("it does not end: {}", answer.status),
        waited = others => assert!(waited < Duration::from_secs(5), "{waited:?}"),
    }
    clear(&router);
    router.finish().await;
}

/// What a server, or a proxy in front of it, may say instead of serving.
fn refusals() -> Vec<Fault> {
    let login = [
        ("www-authenticate", "Basic realm=\"internal\""),
        ("content-type", "text/html"),
    ];
    let page = "<html>sign in at https://login.internal.example</html>";
    let statuses = [301, 302, 401, 402, 403, 407];
    let mut refusals: Vec<_> = statuses.map(|status| answer(status, &login, page)).into();
    refusals.push(answer(404, &login, page));
    refusals.push(answer(404, &[], r#"{"detail":"Not Found"}"#));
    refusals
}

#[tokio::test]
async fn a_refusal_between_servers_moves_and_is_said_in_health() {
    for refusal in refusals() {
        let router = Plan::servers(2).start().await;
        warm(&router, "gpu-0").await;
        router.servers[0].fault(refusal.clone());
        let answer = router.post("/api/chat", &chat("llama3.2")).await;
        assert_eq!(answer.status, 200, "{refusal:?}: {}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1", "{refusal:?}");
        eventually("health says so", || {
            let observed = router.app.fleet().observed();
            let reason = observed[0].reason.clone();
            reason.is_some_and(|reason| reason.contains("refuses the router's requests"))
        })
        .await;
        let health = router.get("/health").await.json();
        let detail = health["endpoints"]["gpu-0"]["detail"].as_str().unwrap();
        assert!(detail.contains("status"), "{detail}");
        clear(&router);
        router.finish().await;
    }
}

#[tokio::test]
async fn if_all_servers_refuse_the_client_gets_502_and_no_text_of_theirs() {
    for refusal in refusals() {
        let router = Plan::servers(2).start().await;
        for (i, server) in router.servers.iter().enumerate() {
            warm(&router, &format!("gpu-{i}")).await;
            server.fault(refusal.clone());
        }
        for path in ["/api/chat", "/v1/chat/completions"] {
            let answer = router.post(path, &chat("llama3.2")).await;
            assert_eq!(answer.status, 502, "{refusal:?}: {}", answer.text());
            assert!(answer.json()["error"].is_string() || answer.json()["error"].is_object());
            for secret in ["internal", "sign in", "detail"] {
                assert!(!answer.text().contains(secret), "{}", answer.text());
            }
            assert_eq!(answer.header("www-authenticate"), "");
        }
        clear(&router);
        router.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_no_request_for_that_model_until_then() {
    for status in [429, 503] {
        let router = Plan::servers(2)
            .each(|server| server.models.push(Model::named("other")))
            .start()
            .await;
        warm(&router, "gpu-0").await;
        router.servers[0].fault(
            answer(status, &[("retry-after", "3600")], "later")
                .next(1)
                .on("llama3.2"),
        );
        let answer = router.post("/api/chat", &chat("llama3.2")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-herdsman-endpoint")),
            (200, "gpu-1")
        );
        eventually("it is on record", || failing(&router) == 1).await;
        for _ in 0..6 {
            let answer = router.post("/api/chat", &chat("llama3.2")).await;
            assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
        }
        router.finish().await;
    }
}

#[tokio::test]
async fn if_no_other_server_can_serve_status_and_pause_reach_the_client() {
    for status in [429, 503] {
        let router = Plan::servers(1).start().await;
        warm(&router, "gpu-0").await;
        router.servers[0].fault(answer(
            status,
            &[("retry-after", "7")],
            r#"{"error":"later"}"#,
        ));
        let answer = router.post("/api/chat", &chat("llama3.2")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (status, "7")
        );
        assert_eq!(answer.json()["error"], "later");
        clear(&router);
        router.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_replaced_once_and_then_it_is_504() {
    for (setting, streamed) in [("first_byte_timeout", true), ("answer_timeout", false)] {
        let router = Plan::servers(3)
            .set(&format!("routing.{setting}=400ms"))
            .set("fleet.probe_interval=10m")
            .start()
            .await;
        for (i, server) in router.servers.iter().enumerate() {
            warm(&router, &format!("gpu-{i}")).await;
            server.fault(Fault::Stall { after: 0 });
        }
        let mut body = chat("llama3.2");
        body["stream"] = json!(streamed);
        let answer = router.post("/api/chat", &body).await;
        assert_eq!(answer.status, 504, "{setting}: {}", answer.text());
        router.at_rest().await;
        assert_eq!(started(&router), 3 + 2, "{setting}");
        clear(&router);
        router.finish().await;
    }
}

#[tokio::test]
async fn a_slow_answer_that_is_not_streamed_is_not_under_the_limit_of_first_bytes() {
    let router = Plan::servers(1)
        .set("routing.first_byte_timeout=300ms")
        .each(|server| {
            server.decode_interval = Duration::from_millis(100);
        })
        .start()
        .await;
    let mut body = chat("llama3.2");
    body["stream"] = json!(false);
    assert_eq!(router.post("/api/chat", &body).await.status, 200);
    router.finish().await;
}

/// A server that hangs, and clients that are all more impatient than the router.
#[tokio::test]
async fn a_server_that_hangs_is_avoided_even_if_every_client_leaves_before_the_router_would() {
    let router = Plan::servers(2)
        .set("fleet.probe_interval=10m")
        .endpoint(1, |endpoint| endpoint.priority = 1)
        .start()
        .await;
    warm(&router, "gpu-0").await;
    warm(&router, "gpu-1").await;
    router.servers[0].fault(Fault::Stall { after: 0 });
    for _ in 0..3 {
        let body = chat("llama3.2");
        let request = router.post("/api/chat", &body);
        assert!(
            timeout(Duration::from_millis(1_200), request)
                .await
                .is_err()
        );
    }
    eventually("the hanging server is on record", || failing(&router) == 1).await;
    let answer = router.post("/api/chat", &chat("llama3.2")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-herdsman-endpoint")),
        (200, "gpu-1")
    );
    clear(&router);
    router.finish().await;
}

#[tokio::test]
async fn clients_that_leave_early_are_no_evidence() {
    let router = Plan::servers(1)
        .set("fleet.probe_interval=10m")
        .start()
        .await;
    warm(&router, "gpu-0").await;
    router.servers[0].fault(Fault::Stall { after: 0 });
    for _ in 0..6 {
        let body = chat("llama3.2");
        let request = router.post("/api/chat", &body);
        assert!(timeout(Duration::from_millis(200), request).await.is_err());
    }
    router.at_rest().await;
    assert_eq!(failing(&router), 0);
    clear(&router);
    router.finish().await;
}

/// Two models of which only one fits, the one always busy.
#[tokio::test]
async fn a_model_that_is_always_busy_starves_no_other() {
    let router = Plan::servers(1)
        .each(|server| {
            server.models.push(Model::named("rare"));
            server.max_loaded = 1;
            server.load = Duration::from_millis(300);
            server.decode_interval = Duration::from_millis(25);
            server.parallel = 2;
        })
        .set("routing.slots=2")
        .start()
        .await;
    warm(&router, "gpu-0").await;
    let busy = async {
        loop {
            let both = (0..4).map(|_| async {
                assert_eq!(
                    router.post("/api/chat", &chat("llama3.2")).await.status,
                    200
                );
            });
            join_all(both).await;
        }
    };
    let rare = async {
        eventually("it is busy", || router.in_flight() >= 2).await;
        let began = Instant::now();
        let answer = router.post("/api/chat", &chat("rare")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        began.elapsed()
    };
    let waited = tokio::select! {
        () = busy => unreachable!("it never ends"),
        waited = rare => waited,
    };
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    router.at_rest().await;
    router.finish().await;
}
