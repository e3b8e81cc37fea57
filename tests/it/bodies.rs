//! Bodies of requests that Ollama takes, though other readers would not; and encoded ones.

use std::io::Write;

use flate2::write::GzEncoder;
use herdsman_simulator::Model;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Answer, Plan, TestRouter};

const CHAT: &str =
    r#"{"model":"llama3.2","stream":false,"messages":[{"role":"user","content":"x"}]}"#;

#[tokio::test]
async fn a_body_that_ollama_takes_is_taken_and_read_as_ollama_reads_it() {
    let router = Plan::servers(1)
        .each(|server| server.models.push(Model::named("qwen3")))
        .start()
        .await;
    let chat = |start: &[u8], end: &[u8]| {
        let rest = br#""stream":false,"messages":[{"role":"user","content":"x"}]"#;
        [start, rest, end].concat()
    };
    for (body, model) in [
        (chat(br#"{"model":"llama3.2","#, b"}xx"), "llama3.2"),
        (
            chat(br#"{"model":"llama3.2","#, br#"}{"model":"none"}"#),
            "llama3.2",
        ),
        (chat(br#"{"model":"none","model":"qwen3","#, b"}"), "qwen3"),
        (chat(br#"{"model":"none","MODEL":"qwen3","#, b"}"), "qwen3"),
        (chat(br#"{"model":"qwen3","model":null,"#, b"}"), "qwen3"),
        (chat(br#"{"model":"qwen3","stream":true,"#, b"}"), "qwen3"),
        (
            chat(b"{\"model\":\"qwen3\",\"user\":\"caf\xe9\",", b"}"),
            "qwen3",
        ),
        (
            chat(
                br#"{"model":"qwen3","user":"cut in an emoji \ud83d","#,
                b"}",
            ),
            "qwen3",
        ),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let answer = router.post_bytes("/api/chat", body).await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.text());
        // As the server read it, which is what the request was routed and counted by.
        assert_eq!(answer.json()["model"], model, "{text}");
        assert_eq!(answer.json()["done"], true, "{text}");
    }
    let usage = router.get("/api/usage").await.json();
    assert!(
        usage["token_usage_counts"]["gpu-0"]["none:latest"].is_null(),
        "{usage}"
    );
    router.finish().await;
}

async fn encoded(router: &TestRouter, path: &str, coding: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(format!("{}{path}", router.url()))
        .header("content-encoding", coding)
        .body(Full::new(body.into()))
        .unwrap();
    router.request(request).await.whole().await
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 0).unwrap()
}

#[tokio::test]
async fn an_encoded_body_is_decoded_and_sent_plain() {
    let router = Plan::servers(1).start().await;
    for path in ["/api/chat", "/v1/chat/completions"] {
        for (coding, body) in [
            ("gzip", gzip(CHAT.as_bytes())),
            ("zstd", zstd(CHAT.as_bytes())),
            ("identity", CHAT.into()),
        ] {
            // The simulated server reads no encoding: it would refuse what is not plain.
            let answer = encoded(&router, path, coding, body).await;
            assert_eq!(answer.status, 200, "{path} {coding}: {}", answer.text());
        }
    }
    router.finish().await;
}

#[tokio::test]
async fn what_decodes_to_more_than_a_body_may_have_is_refused() {
    let router = Plan::servers(1).set("server.max_body=1MiB").start().await;
    let long = format!("{{\"model\":\"{}\"}}", "x".repeat(64 << 20));
    for (coding, body) in [
        ("gzip", gzip(long.as_bytes())),
        ("zstd", zstd(long.as_bytes())),
    ] {
        assert!(body.len() < 1 << 20, "{coding}: {}", body.len());
        let answer = encoded(&router, "/api/chat", coding, body).await;
        assert_eq!(answer.status, 413, "{coding}: {}", answer.text());
    }
    assert_eq!(router.servers[0].counters().started, 0);
    router.finish().await;
}

#[tokio::test]
async fn an_encoding_that_is_not_read_or_is_none_is_refused() {
    let router = Plan::servers(1).start().await;
    for (coding, body, status) in [
        ("br", CHAT.into(), 415),
        ("gzip, zstd", CHAT.into(), 415),
        ("gzip", CHAT.into(), 400),
        ("zstd", zstd(CHAT.as_bytes())[..20].to_vec(), 400),
    ] {
        let answer = encoded(&router, "/v1/chat/completions", coding, body).await;
        assert_eq!(answer.status, status, "{coding}: {}", answer.text());
        assert!(
            answer.json()["error"]["message"].is_string(),
            "{}",
            answer.text()
        );
    }
    assert_eq!(router.servers[0].counters().started, 0);
    let plain = json!({"model": "llama3.2", "messages": []});
    assert_eq!(router.post("/api/chat", &plain).await.status, 200);
    router.finish().await;
}
