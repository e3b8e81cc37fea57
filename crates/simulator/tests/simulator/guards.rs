//! Paths, methods, `Host` and `Origin`.

use herdsman_simulator::Config;

use super::start;
use super::wire::{Answer, Client, call};

async fn with(addr: std::net::SocketAddr, method: &str, headers: &[(&str, &str)]) -> Answer {
    let mut client = Client::connect(addr).await.unwrap();
    client.send(method, "/api/tags", headers, "").await;
    client.answer(method).await.unwrap()
}

#[tokio::test]
async fn the_root_says_that_ollama_is_running() {
    let server = start(Config::default()).await;
    let answer = call(server.addr(), "GET", "/", "").await;
    assert_eq!(
        (answer.status, answer.body().as_str()),
        (200, "Ollama is running")
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let answer = call(server.addr(), "HEAD", "/", "").await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("17"))
    );
    assert_eq!(
        call(server.addr(), "HEAD", "/api/tags", "").await.status,
        200
    );
    assert_eq!(
        call(server.addr(), "HEAD", "/api/version", "").await.status,
        200
    );
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_with_gins_texts() {
    let server = start(Config::default()).await;
    for (method, path, status, text) in [
        ("GET", "/api/nothing", 404, "404 page not found"),
        ("GET", "/v1/models/a/b", 404, "404 page not found"),
        ("GET", "/api/chat", 405, "405 method not allowed"),
        ("POST", "/api/tags", 405, "405 method not allowed"),
        ("POST", "/api/delete", 405, "405 method not allowed"),
    ] {
        let answer = call(server.addr(), method, path, "").await;
        assert_eq!(
            (answer.status, answer.body().as_str()),
            (status, text),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_foreign_origin_is_forbidden_on_any_request() {
    let server = start(Config {
        origins: vec!["https://*.example.com".into()],
        ..Config::default()
    })
    .await;
    let answer = with(server.addr(), "GET", &[("Origin", "https://evil.com")]).await;
    assert_eq!((answer.status, answer.body().as_str()), (403, ""));
    for origin in [
        "http://localhost:3000",
        "https://app.example.com",
        "app://obsidian.md",
    ] {
        let answer = with(server.addr(), "GET", &[("Origin", origin)]).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, Some(origin))
        );
    }
    let preflight = with(
        server.addr(),
        "OPTIONS",
        &[("Origin", "http://localhost:3000")],
    )
    .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(with(server.addr(), "OPTIONS", &[]).await.status, 405);
}

#[tokio::test]
async fn a_foreign_host_is_forbidden_on_loopback() {
    let server = start(Config::default()).await;
    let answer = with(server.addr(), "GET", &[("Host", "example.com")]).await;
    assert_eq!((answer.status, answer.body().as_str()), (403, ""));
    for host in ["127.0.0.1:11434", "gpu.internal", "10.1.2.3"] {
        assert_eq!(
            with(server.addr(), "GET", &[("Host", host)]).await.status,
            200
        );
    }
    let page = [("Host", "localhost:1"), ("Origin", "http://localhost:1")];
    assert_eq!(
        with(server.addr(), "GET", &page)
            .await
            .header("access-control-allow-origin"),
        None
    );
}
