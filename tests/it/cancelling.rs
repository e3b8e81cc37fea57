//! Requests that an operator cancels while their client does nothing that would show it.

use std::time::Duration;

use herdsman_simulator::Model;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Plan, TEST_TIMEOUT, TestRouter, eventually};

/// A request whose body is announced, and sent as far as it is here.
async fn sent(router: &TestRouter, path: &str, announced: usize, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(router.app.addr()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-request-id: one\r\nconnection: close\r\ncontent-length: {announced}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// What comes up to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(TEST_TIMEOUT, stream.read_to_end(&mut text));
    // A reset is an end as well.
    let _ = read.await.expect("the connection ends in time");
    String::from_utf8_lossy(&text).into_owned()
}

async fn open(router: &TestRouter) -> Vec<Value> {
    let listed = router.get("/admin/requests").await.json();
    listed["requests"].as_array().unwrap().clone()
}

async fn cancel(router: &TestRouter) {
    let cancelled = router.admin(Method::DELETE, "/admin/requests/one", Value::Null);
    assert_eq!(cancelled.await.json()["requests"], 1);
}

/// The client has no room for more of the answer: what has come of it stays the same.
async fn is_stuck(router: &TestRouter) {
    let mut before = None;
    loop {
        let open = open(router).await;
        let tokens = open.first().and_then(|one| one["tokens"].as_u64());
        if tokens.is_some_and(|tokens| tokens > 0) && tokens == before {
            return;
        }
        before = tokens;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_client_reads_nothing_ends_at_once_when_it_is_cancelled() {
    let router = Plan::servers(1)
        .each(|server| {
            // More than the sockets in between can hold.
            let piece = "x".repeat(20_000);
            server.models = vec![Model::named("llama3.2").saying([piece])];
            server.default_predict = 2_000_000;
        })
        .set("routing.slots=1")
        .start()
        .await;
    for path in ["/api/chat", "/v1/chat/completions"] {
        let body = json!({"model": "llama3.2", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let body = body.to_string();
        let before = router.servers[0].counters().cancelled;
        let mut stream = sent(&router, path, body.len(), &body).await;
        timeout(TEST_TIMEOUT, is_stuck(&router))
            .await
            .expect("the client's socket is full");
        assert_eq!(router.in_flight(), 1);
        cancel(&router).await;
        assert_eq!(router.in_flight(), 0, "before the call has returned");
        assert!(open(&router).await.is_empty());
        eventually("its server stops", || {
            router.servers[0].counters().cancelled > before
        })
        .await;
        // It reads on after all, and is told.
        let text = rest(&mut stream).await;
        assert!(!text.contains("\"done\":true"));
        let end = text.len().saturating_sub(300);
        assert!(
            text.contains("cancelled by an operator"),
            "{:?}",
            text.get(end..)
        );
    }
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_still_being_sent_can_be_cancelled() {
    let router = Plan::servers(1).start().await;
    let mut stream = sent(&router, "/api/chat", 1_000, "{\"model\":").await;
    let listed = async { while open(&router).await.is_empty() {} };
    timeout(TEST_TIMEOUT, listed).await.expect("it is listed");
    cancel(&router).await;
    let text = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 403"), "{text}");
    assert!(text.contains("cancelled by an operator"), "{text}");
    assert!(open(&router).await.is_empty());
    router.finish().await;
}
