//! Connections of clients: how long they live, under which names they are answered, and how they end.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{Answer, Plan, TEST_TIMEOUT, TestRouter, eventually};

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]})
}

async fn connected(router: &TestRouter) -> TcpStream {
    TcpStream::connect(router.app.addr()).await.unwrap()
}

/// Everything up to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(TEST_TIMEOUT, stream.read_to_end(&mut text));
    // A reset is an end as well.
    let _ = read.await.expect("the connection ends in time");
    String::from_utf8_lossy(&text).into_owned()
}

const HEAD: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// One answer of a connection that stays open.
async fn answered(stream: &mut TcpStream) {
    stream.write_all(HEAD).await.unwrap();
    let mut piece = vec![0; 4096];
    let read = timeout(TEST_TIMEOUT, stream.read(&mut piece)).await;
    let read = read.expect("an answer in time").unwrap();
    assert!(piece[..read].starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_configured_time_and_not_before() {
    let router = Plan::servers(1).set("server.idle=700ms").start().await;
    // Before its first request and after one.
    for requests in [0, 1, 3] {
        let mut stream = connected(&router).await;
        for _ in 0..requests {
            answered(&mut stream).await;
        }
        let began = Instant::now();
        assert_eq!(rest(&mut stream).await, "");
        let idle = began.elapsed();
        assert!(idle >= Duration::from_millis(600), "{requests}: {idle:?}");
        assert!(idle < Duration::from_secs(15), "{requests}: {idle:?}");
    }
    router.finish().await;
}

#[tokio::test]
async fn an_answer_is_not_idleness() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 40;
            server.decode_interval = Duration::from_millis(50);
        })
        .set("server.idle=300ms")
        .set("server.reader_timeout=300ms")
        .start()
        .await;
    for stream in [true, false] {
        let mut body = chat();
        body["stream"] = stream.into();
        let answer = router.post("/api/chat", &body).await;
        assert!(!answer.broken && answer.status == 200);
        let last = answer.text().lines().last().unwrap().to_owned();
        assert!(last.contains("\"done\":true"), "{last}");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_head_in_drops_ends_the_connection_long_before_it_would_be_idle() {
    let router = Plan::servers(1).set("server.idle=10m").start().await;
    let mut stream = connected(&router).await;
    answered(&mut stream).await;
    let began = Instant::now();
    let dropping = async {
        for byte in HEAD.iter().cycle().take(HEAD.len() - 1) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    dropping.await;
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_is_disconnected_and_its_slot_is_free() {
    let router = Plan::servers(1)
        .each(|server| server.default_predict = 2_000_000)
        .set("server.reader_timeout=500ms")
        .start()
        .await;
    for path in ["/api/chat", "/v1/chat/completions"] {
        let body = json!({"model": "llama3.2", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let body = body.to_string();
        let mut stream = connected(&router).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        eventually("the answer has begun", || router.in_flight() == 1).await;
        let open = router.app.connections();
        eventually("the slot is free", || router.in_flight() == 0).await;
        eventually("the connection is gone", || router.app.connections() < open).await;
        drop(stream);
    }
    router.finish().await;
}

async fn asked(router: &TestRouter, method: Method, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}/v1/models", router.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    router.request(request).await.whole().await
}

#[tokio::test]
async fn names_of_tunnels_are_answered_and_others_are_told_what_to_set() {
    let router = Plan::servers(1)
        .set("server.hosts=[\"abc.tunnel.test\", \"*.lan.test\"]")
        .set("server.cors_origins=[\"https://chat.example.com\"]")
        .start()
        .await;
    for host in [
        "abc.tunnel.test",
        "gpu.lan.test:8080",
        "chat.example.com",
        "localhost",
    ] {
        let answer = asked(&router, Method::GET, &[("host", host)]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let refused = asked(&router, Method::GET, &[("host", "evil.test:80")]).await;
    assert_eq!(refused.status, 403);
    let error = refused.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("server.hosts = [\"evil.test\"]"), "{error}");
    let origin = [("origin", "https://other.test")];
    let refused = asked(&router, Method::GET, &origin).await;
    assert_eq!(refused.status, 403);
    let error = refused.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        error.contains("server.cors_origins = [\"https://other.test\"]"),
        "{error}"
    );
    assert_eq!(refused.json()["error"]["type"], "permission_error");
    router.finish().await;
}

/// Whatever a tunnel does or does not add to the requests of its strangers.
#[tokio::test]
async fn a_name_that_is_configured_lets_nobody_make_admin_calls_without_the_admin_key() {
    let router = Plan::servers(1)
        .set("server.hosts=[\"abc.tunnel.test\", \"*.lan.test\"]")
        .set("server.cors_origins=[\"https://chat.example.com\"]")
        .start()
        .await;
    let admin = async |headers: &[(&str, &str)]| {
        let mut request = Request::get(format!("{}/admin/keys", router.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        router.request(request).await.whole().await.status.as_u16()
    };
    for host in ["abc.tunnel.test", "gpu.lan.test:8080", "chat.example.com"] {
        let answer = asked(&router, Method::GET, &[("host", host)]).await;
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(admin(&[("host", host)]).await, 403, "{host}");
        let page = format!("https://{host}");
        let own = [("host", host), ("origin", &*page)];
        assert_eq!(admin(&own).await, 403, "{host}");
    }
    for added in ["via", "cf-connecting-ip", "true-client-ip", "x-client-ip"] {
        let host = ("host", "localhost");
        assert_eq!(admin(&[host, (added, "1.2.3.4")]).await, 403, "{added}");
    }
    assert_eq!(admin(&[("host", "localhost")]).await, 200);
    router.finish().await;
}

#[tokio::test]
async fn loopback_written_as_an_address_of_the_newer_protocol_is_guarded_as_well() {
    let router = Plan::servers(1)
        .set("server.listen=[::ffff:127.0.0.1]:0")
        .start()
        .await;
    for (host, status) in [("localhost", 200), ("evil.test", 403)] {
        let answer = asked(&router, Method::GET, &[("host", host)]).await;
        assert_eq!(answer.status, status, "{host}");
    }
    router.finish().await;
}

#[tokio::test]
async fn configured_pages_may_call_into_the_private_network_and_others_may_not() {
    let router = Plan::servers(1)
        .set("server.cors_origins=[\"https://chat.example.com\"]")
        .start()
        .await;
    let preflight = async |origin: &str, asks: bool| {
        let mut headers = vec![
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        if asks {
            headers.push(("access-control-request-private-network", "true"));
        }
        asked(&router, Method::OPTIONS, &headers).await
    };
    const ALLOWS: &str = "access-control-allow-private-network";
    let configured = preflight("https://chat.example.com", true).await;
    assert_eq!(
        (configured.status.as_u16(), configured.header(ALLOWS)),
        (204, "true")
    );
    let unasked = preflight("https://chat.example.com", false).await;
    assert_eq!((unasked.status.as_u16(), unasked.header(ALLOWS)), (204, ""));
    let default = preflight("http://localhost:3000", true).await;
    assert_eq!((default.status.as_u16(), default.header(ALLOWS)), (204, ""));
    let foreign = preflight("https://evil.test", true).await;
    assert_eq!((foreign.status.as_u16(), foreign.header(ALLOWS)), (403, ""));
    router.finish().await;
}

#[tokio::test]
async fn in_the_lead_in_it_is_not_ready_and_serves_all_the_same() {
    let router = Plan::servers(1).set("server.lead_in=1s").start().await;
    assert_eq!(router.get("/health/ready").await.status, 200);
    let began = Instant::now();
    let observed = async {
        while router.get("/health/ready").await.status != 503 {
            tokio::task::yield_now().await;
        }
        let answer = router.post("/api/chat", &chat()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        // Or its client would find the connection closed a moment later, maybe under a request.
        assert_eq!(answer.header("connection"), "close");
        assert_eq!(router.get("/health/live").await.status, 200);
        assert_eq!(router.get("/health").await.status, 200);
    };
    tokio::join!(router.app.lead_in(), observed);
    assert!(began.elapsed() >= Duration::from_secs(1));
    router.finish().await;
}

#[tokio::test]
async fn after_the_lead_in_connections_are_refused_and_what_comes_over_those_there_are_is_served() {
    let router = Plan::servers(1).set("server.lead_in=0s").start().await;
    let (addr, body) = (router.app.addr(), chat().to_string());
    let head = format!(
        "POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(body.len() / 2);
    let mut begun = TcpStream::connect(addr).await.unwrap();
    begun
        .write_all((head.clone() + first).as_bytes())
        .await
        .unwrap();
    let mut connected = TcpStream::connect(addr).await.unwrap();
    let leaving = async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        connected
            .write_all((head + &body).as_bytes())
            .await
            .unwrap();
    };
    tokio::join!(router.app.lead_in(), leaving);
    let ended = async {
        // It has nothing to do but to wait for the rest.
        tokio::time::sleep(Duration::from_millis(100)).await;
        begun.write_all(rest.as_bytes()).await.unwrap();
        for mut stream in [begun, connected] {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("\"done\":true"), "{answer}");
        }
    };
    tokio::join!(router.app.shutdown(), ended);
    for server in router.servers {
        server.stop().await;
    }
}

/// So many requests by clients of their own, which outlive the test's; the status and the text of each answer.
fn asking(router: &TestRouter, requests: usize) -> JoinSet<(u16, String)> {
    let url = format!("{}/api/chat", router.url());
    let ask = |url: String| async move {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::post(url).body(Full::<Bytes>::from(chat().to_string()));
        let answer = client.request(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    (0..requests).map(|_| ask(url.clone())).collect()
}

fn waiting(router: &TestRouter) -> usize {
    let lengths = router.app.fleet().queue_lengths();
    lengths.iter().map(|(_, n)| *n).sum()
}

#[tokio::test]
async fn requests_that_wait_for_a_slot_when_it_stops_are_served_within_the_grace() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 30;
            server.decode_interval = Duration::from_millis(10);
        })
        .set("routing.slots=1")
        .start()
        .await;
    let requests = asking(&router, 4);
    eventually("three wait", || waiting(&router) == 3).await;
    let (answers, ()) = tokio::join!(requests.join_all(), router.app.shutdown());
    for (status, text) in answers {
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("\"done\":true"), "{text}");
    }
}

#[tokio::test]
async fn requests_that_still_wait_when_the_grace_is_over_are_told_so() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(10);
        })
        .set("routing.slots=1")
        .set("server.grace=300ms")
        .start()
        .await;
    let mut first = router.stream("/api/chat", &chat()).await;
    first.piece().await;
    let second = asking(&router, 1);
    eventually("the second waits", || waiting(&router) == 1).await;
    let (first, second, ()) = tokio::join!(first.whole(), second.join_all(), router.app.shutdown());
    assert!(first.text().contains("shutting down"));
    assert_eq!(second[0].0, 503, "{}", second[0].1);
}
