//! A recording in a form, and what is said in it.

use herdsman::config::Kind;
use http::{Request, header};

use super::in_front_of;
use crate::support::{Answer, Reply, Scripted, TestRouter};

const BOUNDARY: &str = "----herd";

/// A form whose model stands behind the recording.
fn form(model: &str, stream: bool) -> String {
    let part = |head: &str, value: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    let mut form = part(
        "name=\"file\"; filename=\"a.wav\"",
        "RIFF\0\r\n--not it\r\n",
    );
    form += &part("name=\"prompt\"", "abcdefgh");
    if stream {
        form += &part("name=\"stream\"", "true");
    }
    form + &part("name=\"model\"", model) + &format!("--{BOUNDARY}--\r\n")
}

async fn transcribe(router: &TestRouter, form: String) -> Answer {
    let request = Request::post(format!("{}/v1/audio/transcriptions", router.url())).header(
        header::CONTENT_TYPE,
        format!("multipart/form-data; boundary={BOUNDARY}"),
    );
    let request = request.body(form.into()).unwrap();
    router.request(request).await.whole().await
}

#[tokio::test]
async fn every_form_of_an_answer_passes_and_is_counted() {
    let json = "application/json";
    let sse = "text/event-stream";
    let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"x\"}\n\n\
                  data: {\"type\":\"transcript.text.done\",\"text\":\"x\",\"usage\":{\"input_tokens\":14,\"output_tokens\":3}}\n\n";
    for (kind, body, counted) in [
        (json, r#"{"text":"four words are here"}"#, (2, 5)),
        (
            json,
            r#"{"text":"x","usage":{"type":"tokens","input_tokens":14,"output_tokens":3}}"#,
            (14, 3),
        ),
        ("text/plain", "[Music] four words are\n", (2, 6)),
        ("text/plain", "", (2, 0)),
        (sse, events, (14, 3)),
    ] {
        let reply = Reply::ok(kind, body);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&[(&server, Kind::Ollama)]).await;
        let answer = transcribe(&router, form("llama3.2", kind == sse)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.broken);
        assert_eq!(answer.text(), body);
        assert_eq!(router.counted().await, counted, "{body}");
        router.finish().await;
    }
}

#[tokio::test]
async fn another_server_gets_the_same_recording() {
    let busy = Scripted::start(|_| Reply::ok("text/plain", "busy").status(503)).await;
    let mut other = Scripted::start(|_| Reply::ok("application/json", r#"{"text":"here"}"#)).await;
    let router = in_front_of(&[(&busy, Kind::Ollama), (&other, Kind::OpenAi)]).await;
    let sent = form("LLAMA3.2:latest", false);
    let answer = transcribe(&router, sent.clone()).await;
    assert_eq!(answer.json()["text"], "here");
    assert_eq!(answer.header("x-herdsman-endpoint"), "odd-1");
    let asked = other.asked();
    let (_, body) = asked[0].split_once("\r\n\r\n").unwrap();
    // Under the name that this server lists.
    assert_eq!(body, sent.replace("LLAMA3.2:latest", "llama3.2"));
    router.finish().await;
}

#[tokio::test]
async fn a_server_without_the_path_is_asked_once() {
    let mut without =
        Scripted::start(|_| Reply::ok("application/json", r#"{"detail":"Not Found"}"#).status(404))
            .await;
    let other = Scripted::start(|_| Reply::ok("application/json", r#"{"text":"here"}"#)).await;
    let router = in_front_of(&[(&without, Kind::OpenAi), (&other, Kind::OpenAi)]).await;
    for _ in 0..3 {
        let answer = transcribe(&router, form("llama3.2", false)).await;
        assert_eq!(answer.json()["text"], "here");
    }
    assert_eq!(without.asked().len(), 1);
    router.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error() {
    let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"x\"}\n\n";
    let server = Scripted::start(move |_| Reply::ok("text/event-stream", events)).await;
    let router = in_front_of(&[(&server, Kind::Ollama)]).await;
    let answer = transcribe(&router, form("llama3.2", true)).await;
    let rest = answer.text().strip_prefix(events).unwrap();
    assert!(rest.starts_with("data: {\"error\":{"), "{rest}");
    router.finish().await;
}

/// As Retrofit and others write every part of one.
#[tokio::test]
async fn parts_that_are_said_to_be_binary_pass_as_they_are() {
    let mut server = Scripted::start(|_| Reply::ok("application/json", r#"{"text":"x"}"#)).await;
    let router = in_front_of(&[(&server, Kind::Ollama)]).await;
    let encoded = "\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let sent = form("llama3.2", false).replace("\"\r\n\r\n", &format!("\"{encoded}"));
    assert_eq!(sent.matches("binary").count(), 3);
    let answer = transcribe(&router, sent.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(server.asked()[0].ends_with(&sent));
    router.finish().await;
}

#[tokio::test]
async fn what_is_no_form_is_refused_in_the_words_of_its_dialect() {
    let server = Scripted::start(|_| Reply::ok("application/json", "{}")).await;
    let router = in_front_of(&[(&server, Kind::Ollama)]).await;
    let two = form("llama3.2", false).replacen("\"prompt\"", "\"model\"", 1);
    for (form, message) in [
        (
            "x".to_owned(),
            "failed to parse multipart form: multipart: NextPart: EOF",
        ),
        (form("", false), "model is required"),
        (
            two,
            "failed to parse multipart form: \"model\" must not be given twice",
        ),
    ] {
        let answer = transcribe(&router, form).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["message"], message);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    router.finish().await;
}
