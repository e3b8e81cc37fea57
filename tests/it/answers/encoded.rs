//! Encoded answers, though none was asked for.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use herdsman::config::Kind;
use serde_json::json;

use super::{
    CHAT, COMPLETION, DONE, EVENT, FINISH, LAST, LINE, USAGE, beside_another, chat, counted,
    events, in_front_of, lines,
};
use crate::support::{Framing, Reply, Scripted};

fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(plain, 3).unwrap(),
        // Nothing that can be decoded.
        _ => plain.iter().rev().copied().collect(),
    }
}

fn reply(coding: &str, kind: &str, plain: &str) -> Reply {
    Reply::ok(kind, encoded(coding, plain.as_bytes()))
        .header(&format!("content-encoding: {coding}"))
}

#[tokio::test]
async fn servers_are_asked_for_no_encoding_whatever_the_client_takes() {
    let mut server = Scripted::start(|_| Reply::ok("application/json", CHAT)).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    let request = http::Request::post(format!("{}/api/chat", router.url()))
        .header("accept-encoding", "gzip, zstd")
        .body(chat(false).to_string().into())
        .unwrap();
    assert_eq!(router.request(request).await.whole().await.status, 200);
    let asked = server.asked().remove(0).to_ascii_lowercase();
    let encodings: Vec<_> = asked
        .lines()
        .filter(|line| line.starts_with("accept-encoding"))
        .collect();
    assert_eq!(encodings, ["accept-encoding: identity"]);
    router.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_encoded_all_the_same_is_decoded_and_counted() {
    let seen = events(&[EVENT, FINISH, DONE]);
    let sent = events(&[EVENT, FINISH, USAGE, DONE]);
    let stream = lines(&[LINE, LAST]);
    let cases = [
        ("/api/chat", true, "application/x-ndjson", &stream, &stream),
        (
            "/api/chat",
            false,
            "application/json",
            &CHAT.into(),
            &CHAT.into(),
        ),
        (
            "/v1/chat/completions",
            true,
            "text/event-stream",
            &sent,
            &seen,
        ),
        (
            "/v1/chat/completions",
            false,
            "application/json",
            &COMPLETION.into(),
            &COMPLETION.into(),
        ),
    ];
    for coding in ["gzip", "deflate", "zstd"] {
        for (path, streamed, kind, sent, seen) in cases {
            for framing in [Framing::Chunked, Framing::Length, Framing::Close] {
                let reply = reply(coding, kind, sent).framed(framing);
                let (text, counted) = counted(path, &chat(streamed), reply).await;
                let case = format!("{coding} {path} {streamed} {framing:?}");
                assert_eq!((&text, counted), (seen, (7, 5)), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_decoded_answer_has_neither_the_encoding_nor_the_length_of_the_encoded_one() {
    let reply = reply("gzip", "application/json", CHAT).framed(Framing::Length);
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    let answer = router.post("/api/chat", &chat(false)).await;
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.header("content-length"), "");
    assert_eq!(answer.text(), CHAT);
    router.finish().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_passes_whole_with_its_header_and_is_counted_by_estimate() {
    let text = "x".repeat(400);
    for streamed in [true, false] {
        for framing in [Framing::Chunked, Framing::Length] {
            let reply = reply("br", "application/json", &text).framed(framing);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&server, Kind::Ollama).await;
            let answer = router.post("/api/chat", &chat(streamed)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("content-encoding"), "br");
            assert!(answer.text() == text && !answer.broken);
            assert_eq!(router.counted().await, (2, 100), "{streamed} {framing:?}");
            router.finish().await;
        }
    }
}

/// Also where something was asked for that the client is not to see.
#[tokio::test]
async fn a_stream_in_an_unknown_encoding_passes_unchanged_whatever_was_to_be_taken_out_of_it() {
    let text = "x".repeat(400);
    for kind in [Kind::OpenAi, Kind::Ollama] {
        for streamed in [true, false] {
            for framing in [Framing::Chunked, Framing::Length, Framing::Close] {
                let reply = reply("br", "text/event-stream", &text).framed(framing);
                let mut server = Scripted::start(move |_| reply.clone()).await;
                let router = in_front_of(&server, kind).await;
                let answer = router.post("/v1/chat/completions", &chat(streamed)).await;
                let case = format!("{kind:?} {streamed} {framing:?}");
                assert_eq!(answer.status, 200, "{case}: {}", answer.text());
                assert_eq!(answer.header("content-encoding"), "br", "{case}");
                assert!(answer.text() == text && !answer.broken, "{case}");
                let asked = server.asked().remove(0);
                assert_eq!(asked.contains("include_usage"), streamed, "{case}");
                assert_eq!(router.counted().await, (2, 100), "{case}");
                router.finish().await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_and_breaks_is_aborted_and_gets_no_plain_text() {
    // So much that its head is on its way when it breaks.
    let text = "x".repeat(2 << 20);
    let reply = reply("br", "text/event-stream", &text).framed(Framing::ChunkedCut);
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    let answer = router.post("/v1/chat/completions", &chat(true)).await;
    assert_eq!(answer.header("content-encoding"), "br");
    assert!(answer.broken && !answer.text().contains("error"));
    router.finish().await;
}

#[tokio::test]
async fn an_encoded_stream_that_breaks_ends_with_an_error_that_can_be_read() {
    let begun = events(&[EVENT, EVENT]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(begun.as_bytes()).unwrap();
    gzip.flush().unwrap();
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    zstd.write_all(begun.as_bytes()).unwrap();
    zstd.flush().unwrap();
    for (coding, bytes) in [("gzip", gzip.get_ref()), ("zstd", zstd.get_ref())] {
        let reply = Reply::ok("text/event-stream", bytes.clone())
            .header(&format!("content-encoding: {coding}"));
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::Ollama).await;
        let answer = router.post("/v1/chat/completions", &chat(true)).await;
        assert_eq!(answer.header("content-encoding"), "", "{coding}");
        let text = answer.text();
        assert!(
            text.starts_with(&format!("{begun}data: {{\"error\"")),
            "{coding}: {text}"
        );
        router.finish().await;
    }
}

#[tokio::test]
async fn half_an_encoded_answer_is_retried_elsewhere() {
    for coding in ["gzip", "deflate", "zstd"] {
        let mut reply = reply(coding, "application/json", CHAT);
        reply.body.truncate(reply.body.len() / 2);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = beside_another(&server).await;
        let answer = router.post("/api/chat", &chat(false)).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0", "{coding}");
        assert_eq!(answer.json()["done"], true);
        router.finish().await;
    }
}

#[tokio::test]
async fn an_encoded_error_is_read_or_said_in_the_routers_own_words() {
    let text = r#"{"error":"the runner has stopped"}"#;
    for (status, coding, expected) in [
        (500, "gzip", "the runner has stopped"),
        (500, "br", "status 500"),
        (400, "zstd", "the runner has stopped"),
    ] {
        let reply = reply(coding, "application/json", text).status(status);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&server, Kind::Ollama).await;
        let answer = router.post("/api/chat", &chat(false)).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-encoding"), "");
        let said = answer.json()["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(said.contains(expected), "{status} {coding}: {said}");
        router.finish().await;
    }
    let body = json!({"model": "llama3.2", "input": "hi"});
    let reply = reply("br", "application/json", text).status(400);
    let server = Scripted::start(move |_| reply.clone()).await;
    let router = in_front_of(&server, Kind::Ollama).await;
    let answer = router.post("/api/embed", &body).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-encoding")),
        (400, "br")
    );
    router.finish().await;
}
