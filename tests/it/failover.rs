//! Failures before the first byte move a request to another server; failures after it end it.

use std::time::Duration;

use futures_util::future::join_all;
use herdsman_simulator::Fault;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Plan, TestRouter, eventually};

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]})
}

/// Two servers of which only the first, which fails, has the model loaded.
async fn router_with(fault: Fault) -> TestRouter {
    let router = Plan::servers(2)
        .set("routing.first_byte_timeout=5s")
        .start()
        .await;
    let warm = json!({"model": "llama3.2"});
    let request = http::Request::post(format!("{}/api/generate", router.url()))
        .header("x-herdsman-endpoints", "gpu-0")
        .body(warm.to_string().into())
        .unwrap();
    assert_eq!(router.request(request).await.whole().await.status, 200);
    router.servers[0].fault(fault);
    router
}

async fn moves(fault: Fault) {
    let router = router_with(fault.clone()).await;
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1", "{fault:?}");
    assert_eq!(answer.header("x-herdsman-attempts"), "2", "{fault:?}");
    assert_eq!(answer.lines().last().unwrap()["done"], true, "{fault:?}");
    router.servers[0].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn a_refused_connection_moves() {
    // A pooled connection is cut with the listener, so either way the connection fails.
    moves(Fault::Refuse).await;
}

#[tokio::test]
async fn a_reset_before_the_answer_moves() {
    moves(Fault::ResetOnAccept).await;
}

#[tokio::test]
async fn a_500_before_the_first_token_moves() {
    moves(Fault::InternalError).await;
}

#[tokio::test]
async fn running_out_of_memory_moves() {
    moves(Fault::OutOfMemory).await;
}

#[tokio::test]
async fn a_full_queue_of_the_servers_moves() {
    moves(Fault::Busy).await;
}

#[tokio::test]
async fn a_stale_catalogue_moves() {
    moves(Fault::StaleCatalogue).await;
}

#[tokio::test]
async fn a_server_found_silent_while_a_request_waits_for_it_loses_the_request() {
    moves(Fault::Silent).await;
}

#[tokio::test]
async fn a_failed_load_moves() {
    let router = Plan::servers(2).start().await;
    let failing = router
        .servers
        .iter()
        .map(|server| server.fault(Fault::LoadFailure.next(1)))
        .count();
    assert_eq!(failing, 2);
    // The first server fails its only load; so does the second; a third try finds no other server.
    let refused = router.post("/api/chat", &chat()).await;
    assert_eq!(refused.status, 500);
    assert!(refused.json()["error"].is_string(), "{}", refused.text());
    let served = router.post("/api/chat", &chat()).await;
    assert_eq!(served.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn a_400_is_not_retried_and_keeps_its_text() {
    let router = Plan::servers(2).start().await;
    let bad = json!({"model": "llama3.2", "messages": "not a list"});
    let answer = router.post("/api/chat", &bad).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-attempts"), "1");
    // The model is loaded before the request is sent, and on no other server.
    let loads = router.servers.iter().map(|server| server.counters().loads);
    assert_eq!(loads.sum::<u64>(), 1);
    router.finish().await;
}

#[tokio::test]
async fn without_any_server_the_status_says_why() {
    let router = Plan::servers(2).start().await;
    for server in &router.servers {
        server.fault(Fault::Refuse);
    }
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let openai = router.post("/v1/chat/completions", &chat()).await;
    assert_eq!(openai.status, 502);
    assert_eq!(openai.json()["error"]["type"], "api_error");
    eventually("both found down", || {
        router.app.fleet().view().up().next().is_none()
    })
    .await;
    assert_eq!(router.get("/health").await.status, 503);
    for server in &router.servers {
        server.clear_faults();
    }
    eventually("both are up again", || {
        router.app.fleet().view().up().count() == 2
    })
    .await;
    assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_fails_fast_gets_no_traffic() {
    let router = router_with(Fault::InternalError).await;
    for _ in 0..30 {
        assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    }
    // One failure, and perhaps a trial or two later: not one per request.
    let failed = router.servers[0].counters().failed;
    assert!(
        (1..=5).contains(&failed),
        "{failed} requests went to the failing server"
    );
    router.finish().await;
}

#[tokio::test]
async fn a_server_killed_and_restarted_under_load_fails_no_request_that_had_no_byte_yet() {
    let router = Plan::servers(3)
        .each(|server| {
            server.default_predict = 20;
            server.decode_interval = Duration::from_millis(2);
            server.parallel = 16;
        })
        .set("routing.slots=16")
        .start()
        .await;
    let stop = Instant::now() + Duration::from_secs(3);
    let body = chat();
    let client = |_| {
        let (router, body) = (&router, &body);
        async move {
            let (mut whole, mut cut) = (0, 0);
            while Instant::now() < stop {
                let answer = router.post("/api/chat", body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(!answer.broken);
                let last = answer.lines().pop().expect("a line");
                if last["done"] == true {
                    whole += 1;
                } else {
                    assert!(
                        last["error"].is_string(),
                        "a cut stream ends with an error: {last}"
                    );
                    cut += 1;
                }
            }
            (whole, cut)
        }
    };
    let kill = async {
        let mut next_served = Duration::ZERO;
        for i in [0, 1, 2, 0, 1] {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let killed = Instant::now();
            let restart = router.servers[i].restart(Duration::from_millis(250));
            let served = async {
                let answer = router.post("/api/chat", &body).await;
                assert_eq!(answer.status, 200);
                killed.elapsed()
            };
            let ((), served) = tokio::join!(restart, served);
            next_served = next_served.max(served);
        }
        next_served
    };
    let (clients, next_served) = tokio::join!(join_all((0..32).map(client)), kill);
    let whole: u32 = clients.iter().map(|(whole, _)| whole).sum();
    let cut: u32 = clients.iter().map(|(_, cut)| cut).sum();
    assert!(whole > 100 && cut > 0, "{whole} whole, {cut} cut");
    println!("the next request was served within {next_served:?}");
    // It takes a quarter of a second; a busy machine may add one. A request that waited for a probe or
    // a timeout would wait for longer than this.
    assert!(next_served < Duration::from_secs(3), "{next_served:?}");
    router.finish().await;
}

/// A server that answers like an HTTP/1.0 one, and closes inside its answer.
#[tokio::test]
async fn half_an_answer_without_a_length_is_not_taken_for_a_whole_one() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tasks = tokio_util::task::TaskTracker::new();
    let server = tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let body = match request.split(' ').nth(1) {
                Some("/api/tags") => {
                    r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest"}]}"#
                }
                Some("/api/ps") => {
                    r#"{"models":[{"name":"llama3.2:latest","expires_at":"2318-01-01T00:00:00Z"}]}"#
                }
                Some("/api/version") => r#"{"version":"0.1.0"}"#,
                Some("/api/chat") => {
                    r#"{"model":"llama3.2","message":{"role":"assistant","content":"half of"#
                }
                _ => "",
            };
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let router = Plan::servers(2)
        .endpoint(0, move |endpoint| endpoint.url = url.parse().unwrap())
        .start()
        .await;
    while router.get("/api/ps").await.json()["models"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    let whole = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "x"}]});
    let answer = router.post("/api/chat", &whole).await;
    assert_eq!(
        (
            answer.header("x-herdsman-endpoint"),
            answer.header("x-herdsman-attempts")
        ),
        ("gpu-1", "2")
    );
    assert_eq!(answer.json()["done"], true);
    server.abort();
    router.finish().await;
}

#[tokio::test]
async fn time_lost_on_a_server_that_failed_does_not_shorten_the_wait_for_another() {
    let router = Plan::servers(2)
        .set("routing.slots=1")
        .set("routing.queue_timeout=1s")
        .set("fleet.probe_interval=800ms")
        .start()
        .await;
    // Found silent after more than the wait limit of the queue.
    router.servers[0].fault(Fault::Silent);
    router.servers[1].fault(Fault::Stall { after: 1 }.next(1));
    let only = |name: &str| {
        http::Request::post(format!("{}/api/chat", router.url()))
            .header("x-herdsman-endpoints", name)
            .body(chat().to_string().into())
            .unwrap()
    };
    let mut busy = router.request(only("gpu-1")).await;
    busy.piece().await;
    let body = chat();
    let moved = router.post("/api/chat", &body);
    let free = async {
        eventually("it waits for the other server", || {
            router
                .app
                .fleet()
                .queue_lengths()
                .iter()
                .any(|(_, n)| *n == 1)
        })
        .await;
        drop(busy);
    };
    let (moved, ()) = tokio::join!(moved, free);
    assert_eq!(moved.status, 200, "{}", moved.text());
    assert_eq!(moved.header("x-herdsman-endpoint"), "gpu-1");
    router.servers[0].clear_faults();
    router.finish().await;
}
