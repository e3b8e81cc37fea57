//! Invalid input from clients and servers.

use std::time::Duration;

use herdsman_simulator::Fault;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Plan, TEST_TIMEOUT, TestRouter};

/// Sends raw bytes and reads until the router closes.
async fn raw(router: &TestRouter, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(router.app.addr()).await.unwrap();
    // The router may refuse before everything is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(
        TEST_TIMEOUT + Duration::from_secs(20),
        stream.read_to_end(&mut answer),
    );
    let _ = read.await.expect("the router closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_that_is_no_request_gets_400_in_its_dialect() {
    let router = Plan::servers(1).start().await;
    let bodies: [&[u8]; 9] = [
        b"",
        b"not json",
        b"[]",
        b"{\"model\":\"llama3.2\"",
        b"{\"messages\":[]}",
        b"{\"model\":\"\"}",
        b"{\"model\":7}",
        b"{\"model\":\"\xff\xfe\"}",
        b"{\"model\":\"no/such/name/at/all\"}",
    ];
    for body in bodies {
        let text = String::from_utf8_lossy(body).into_owned();
        let ollama = router.post_bytes("/api/chat", body.to_vec()).await;
        assert_eq!(ollama.status, 400, "{text}: {}", ollama.text());
        assert!(ollama.json()["error"].is_string(), "{text}");
        let openai = router
            .post_bytes("/v1/chat/completions", body.to_vec())
            .await;
        assert_eq!(openai.status, 400, "{text}");
        assert_eq!(
            openai.json()["error"]["type"],
            "invalid_request_error",
            "{text}"
        );
    }
    assert_eq!(router.servers[0].counters().started, 0);
    router.finish().await;
}

#[tokio::test]
async fn a_nested_model_key_is_none_and_a_deep_body_is_refused() {
    let router = Plan::servers(1).start().await;
    let nested = json!({"messages": [{"role": "user", "content": "x", "model": "llama3.2"}], "model": "none"});
    assert_eq!(router.post("/api/chat", &nested).await.status, 404);
    let deep = format!("{{\"model\":\"llama3.2\",\"x\":{}", "[".repeat(200_000));
    assert_eq!(router.post_bytes("/api/chat", deep).await.status, 400);
    router.finish().await;
}

#[tokio::test]
async fn an_unknown_model_gets_ollamas_404() {
    let router = Plan::servers(1).start().await;
    let body = json!({"model": "Unknown:7b", "messages": []});
    let ollama = router.post("/api/chat", &body).await;
    assert_eq!(
        (ollama.status.as_u16(), ollama.json()),
        (404, json!({"error": "model 'Unknown:7b' not found"}))
    );
    let openai = router.post("/v1/chat/completions", &body).await;
    assert_eq!(
        (openai.status.as_u16(), &openai.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    assert_eq!(router.post("/api/show", &body).await.status, 404);
    router.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_413_announced_or_not() {
    let router = Plan::servers(1).set("server.max_body=64KiB").start().await;
    let large = json!({"model": "llama3.2", "prompt": "x".repeat(100_000)});
    let announced = router.post("/api/generate", &large).await;
    assert_eq!(announced.status, 413);
    assert!(announced.json()["error"].is_string());
    let mut chunked =
        b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..100 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b' '; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = raw(&router, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(
        answer.contains("invalid_request_error") || answer.contains("api_error"),
        "{answer}"
    );
    // Each is counted, though nothing is known of it but its path.
    let metrics = router.get("/metrics").await;
    for path in ["/api/generate", "/v1/completions"] {
        let line = format!(
            "herdsman_requests_total{{endpoint=\"\",model=\"\",path=\"{path}\",status=\"413\"}} 1"
        );
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_inside_its_body_is_counted_as_one() {
    use tokio::io::AsyncWriteExt;
    let router = Plan::servers(1).start().await;
    let mut client = tokio::net::TcpStream::connect(router.app.addr())
        .await
        .unwrap();
    let begun = b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"mod";
    client.write_all(begun).await.unwrap();
    drop(client);
    let line = "herdsman_requests_total{endpoint=\"\",model=\"\",path=\"/api/chat\",status=";
    let deadline = tokio::time::Instant::now() + crate::support::TEST_TIMEOUT;
    loop {
        let metrics = router.get("/metrics").await;
        if let Some(at) = metrics.text().find(line) {
            let status = &metrics.text()[at + line.len()..][..5];
            // Which of the two ends is noticed first depends on the system.
            assert!(["\"499\"", "\"400\""].contains(&status), "{status}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", metrics.text());
        tokio::task::yield_now().await;
    }
    router.finish().await;
}

#[tokio::test]
async fn too_many_or_too_long_headers_get_431_and_slow_ones_lose_their_connection() {
    let router = Plan::servers(1).start().await;
    let many = (0..200).fold(String::new(), |head, i| format!("{head}x-{i}: y\r\n"));
    let answer = raw(
        &router,
        format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = "y".repeat(1_000_000);
    let answer = raw(
        &router,
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    // Never finished; the router ends it, and the test waits for that event.
    raw(&router, b"GET / HTTP/1.1\r\nhost: local").await;
    router.finish().await;
}

#[tokio::test]
async fn a_hundred_megabytes_of_one_line_pass_in_little_memory() {
    const LENGTH: u64 = 100_000_000;
    let router = Plan::servers(1).start().await;
    router.servers[0].fault(Fault::HugeLine {
        after: 1,
        bytes: LENGTH,
    });
    let chat = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let before = resident();
    let mut stream = router.stream("/api/chat", &chat).await;
    let (mut length, mut most, mut last) = (0, 0, Vec::new());
    while let Some(piece) = stream.piece().await {
        length += piece.len() as u64;
        most = most.max(resident());
        last = piece.to_vec();
    }
    assert!(length >= LENGTH, "{length}");
    assert!(
        String::from_utf8_lossy(&last).contains("\"error\""),
        "it did not end an answer"
    );
    let grown = most.saturating_sub(before);
    assert!(grown < 40 << 20, "grew by {grown} bytes");
    drop(stream);
    router.finish().await;
}

/// Bytes of memory this process has now.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_is_passed_over() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tasks = tokio_util::task::TaskTracker::new();
    let babble = tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"\x16\x03\x01 hello\r\n\r\n").await;
        }
    });
    let router = Plan::servers(2)
        .endpoint(0, move |endpoint| endpoint.url = url.parse().unwrap())
        .start()
        .await;
    let chat = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "x"}]});
    let answer = router.post("/api/chat", &chat).await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
    let config: Value = router.get("/api/config").await.json();
    assert_eq!(config["endpoints"][0]["status"], "error");
    babble.abort();
    router.finish().await;
}
