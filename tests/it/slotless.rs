//! Requests that take no slot, before a server that lets them hang.

use std::time::Duration;

use herdsman::config::Endpoint;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Plan, TestRouter, eventually};

/// A server that answers when it is asked about itself, and lets everything else hang.
async fn hangs_on_posts() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            open.spawn(answer_about_itself(stream));
        }
    });
    (url, serving)
}

async fn answer_about_itself(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        head.extend_from_slice(&piece[..read]);
        if head.starts_with(b"POST") || !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        // Newer than what a simulated server has, so its entry stands for the model.
        let tags = r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest","digest":"feed","modified_at":"2099-01-01T00:00:00Z","size":1,"details":{}}]}"#;
        let body = match &*head {
            tagged if tagged.starts_with(b"GET /api/tags") => tags,
            loaded if loaded.starts_with(b"GET /api/ps") => r#"{"models":[]}"#,
            version if version.starts_with(b"GET") => r#"{"version":"0.12.9"}"#,
            _ => "",
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        head.clear();
    }
}

/// One that hangs, whose entry stands for the model, and one that works.
async fn one_hangs(limit: &str) -> (TestRouter, JoinSet<()>) {
    let (url, serving) = hangs_on_posts().await;
    let mut hanging = Endpoint::at(url.parse().unwrap());
    hanging.name = "hangs".to_owned();
    let router = Plan::servers(1)
        .and(hanging)
        .set(&format!("routing.answer_timeout={limit}"))
        .start()
        .await;
    eventually("both list the model", || {
        let view = router.app.fleet().view();
        view.up().count() == 2
            && view
                .servers
                .iter()
                .all(|server| server.report.models.is_some())
    })
    .await;
    (router, serving)
}

#[tokio::test]
async fn a_server_that_lets_what_takes_no_slot_hang_is_not_asked_first_again() {
    let (router, serving) = one_hangs("1s").await;
    let show = json!({"model": "llama3.2"});
    let mut longest = Vec::new();
    for _ in 0..8 {
        let asked = Instant::now();
        let answer = router.post("/api/show", &show).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
        longest.push(asked.elapsed());
    }
    let slow = longest
        .iter()
        .filter(|took| **took >= Duration::from_secs(1));
    // The first one, and in as much time at most one more that tries it.
    assert!((1..=2).contains(&slow.count()), "{longest:?}");
    drop(serving);
    router.finish().await;
}

#[tokio::test]
async fn an_unload_does_not_wait_for_a_server_that_hangs_once_another_has_answered() {
    let (router, serving) = one_hangs("30m").await;
    let unload = json!({"model": "llama3.2", "keep_alive": 0});
    for round in 0..3 {
        let asked = Instant::now();
        let answer = router.post("/api/generate", &unload).await;
        assert_eq!(answer.json()["done_reason"], "unload", "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
        assert!(asked.elapsed() < Duration::from_secs(4), "round {round}");
    }
    drop(serving);
    router.finish().await;
}
