//! Bodies of requests that Ollama takes, though other readers would not; and encoded ones.

use std::io::Write;

use flate2::write::GzEncoder;
use herdsman::config::Kind;
use herdsman_simulator::Model;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Answer, Plan, Reply, Scripted, TestRouter};

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

/// What is no more than a matter of taste to Ollama is an error to others.
#[tokio::test]
async fn a_server_of_another_kind_is_sent_what_every_reader_reads_alike() {
    let mut server = Scripted::start(|_| {
        Reply::ok(
            "application/json",
            r#"{"choices":[{"finish_reason":"stop","message":{"content":"x"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        )
    })
    .await;
    let plan = Plan::servers(0).and(server.endpoint("strict", Kind::OpenAi));
    let router = plan.start().await;
    let object = r#"{"model":"llama3.2","messages":[{"role":"user","content":"x"}]}"#;
    for (body, sent) in [
        (format!("{object}xx"), object.to_owned()),
        (
            format!("{object} {{\"model\":\"other\"}}"),
            object.to_owned(),
        ),
        (format!("{object}\r\n"), format!("{object}\r\n")),
        (
            object.replace(
                r#""x""#,
                r#""cut \ud83d, whole \ud83d\ude00, text \\ud83d""#,
            ),
            object.replace(
                r#""x""#,
                r#""cut \ufffd, whole \ud83d\ude00, text \\ud83d""#,
            ),
        ),
    ] {
        let answer = router
            .post_bytes("/v1/chat/completions", body.clone())
            .await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let asked = server.asked();
        let (_, body) = asked[0].split_once("\r\n\r\n").unwrap();
        assert_eq!(body, sent);
    }
    router.finish().await;
}

#[tokio::test]
async fn a_name_with_half_a_surrogate_pair_is_one_that_no_server_has() {
    let router = Plan::servers(1).start().await;
    for (path, status) in [
        ("/api/generate", 404),
        ("/api/show", 404),
        ("/api/embed", 404),
        ("/v1/completions", 404),
        // Chats look at the form of the name first.
        ("/api/chat", 400),
        ("/v1/chat/completions", 400),
    ] {
        for name in [r"\ud800", r"llama3.2\ud83d", r"\udc00:latest", "a b"] {
            let body = format!(
                r#"{{"model":"{name}","prompt":"x","input":"x","messages":[{{"role":"user"}}]}}"#
            );
            let answer = router.post_bytes(path, body.clone()).await;
            let text = answer.text();
            assert_eq!(answer.status, status, "{path} {name}: {text}");
            // As the server says it.
            let url = format!("{}{path}", router.servers[0].url());
            let request = Request::post(url).body(Full::new(body.into())).unwrap();
            let own = router.request(request).await.whole().await;
            assert_eq!(
                (answer.status, text),
                (own.status, own.text()),
                "{path} {name}"
            );
        }
    }
    let long = format!(r#"{{"model":"{}"}}"#, "é".repeat(1 << 20));
    let answer = router.post_bytes("/api/generate", long).await;
    assert!(
        answer.text().len() < 1000,
        "what is no name is not repeated"
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
async fn an_encoded_body_is_decoded_on_every_path_that_reads_one() {
    let router = Plan::servers(1).set("server.max_body=2MiB").start().await;
    assert_eq!(router.post_bytes("/api/chat", CHAT).await.status, 200);
    router.counted().await;
    let about = r#"{"model":"llama3.2"}"#;
    for (path, body, status) in [
        ("/api/show", about, 200),
        ("/api/stats", about, 200),
        ("/admin/users", r#"{"id":"ann"}"#, 201),
        ("/admin/teams", r#"{"id":"blue"}"#, 201),
    ] {
        let coding = if path == "/admin/teams" {
            "zstd"
        } else {
            "gzip"
        };
        let whole = match coding {
            "zstd" => zstd(body.as_bytes()),
            _ => gzip(body.as_bytes()),
        };
        let answer = encoded(&router, path, coding, whole).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let answer = encoded(&router, path, coding, b"no such thing".to_vec()).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        let bomb = encoded(&router, path, "gzip", gzip(&vec![b' '; 4 << 20])).await;
        assert_eq!(bomb.status, 413, "{path}: {}", bomb.text());
        let other = encoded(&router, path, "br", body.into()).await;
        assert_eq!(other.status, 415, "{path}: {}", other.text());
    }
    router.finish().await;
}

/// More than there is room for at a time: they wait for one another, and each is answered.
#[tokio::test]
async fn many_encoded_bodies_at_once_wait_for_their_turn_and_are_all_served() {
    let router = Plan::servers(2)
        .set("server.max_body=1MiB")
        .set("routing.slots=4")
        .start()
        .await;
    let long = CHAT.replace('x', &"x".repeat((1 << 20) - CHAT.len()));
    let (long, bomb) = (gzip(long.as_bytes()), gzip(&vec![b' '; 4 << 20]));
    let answers = (0..48).map(|n| {
        let body = if n % 3 == 0 {
            bomb.clone()
        } else {
            long.clone()
        };
        encoded(&router, "/api/chat", "gzip", body)
    });
    let answers = futures_util::future::join_all(answers).await;
    for (n, answer) in answers.iter().enumerate() {
        let status = if n % 3 == 0 { 413 } else { 200 };
        assert_eq!(answer.status, status, "{n}: {}", answer.text());
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
