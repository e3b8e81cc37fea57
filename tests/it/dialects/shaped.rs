//! Errors of servers, and of what is before them, in a form that the path does not have.

use herdsman::config::Kind;
use http::Request;
use serde_json::{Value, json};

use super::{ask, in_front_of};
use crate::support::{Answer, Framing, Reply, Scripted, TestRouter};

const EVERY: [&str; 5] = [
    "/api/chat",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/responses",
];

async fn posted(router: &TestRouter, path: &str) -> Answer {
    let request = Request::post(format!("{}{path}", router.url())).header("x-request-id", "req-1");
    let request = request.body(ask(false).to_string().into()).unwrap();
    router.request(request).await.whole().await
}

/// The message of an error that has the form of its path, and nothing else.
fn message(path: &str, body: &Value) -> String {
    let error = &body["error"];
    let message = match path {
        "/api/chat" => error,
        _ => &error["message"],
    };
    match path {
        "/api/chat" => {}
        "/v1/messages" => {
            assert_eq!(
                (&body["type"], &body["request_id"]),
                (&json!("error"), &json!("req-1"))
            );
            assert!(error["type"].is_string(), "{body}");
        }
        _ => assert!(
            error["type"].is_string() && error.get("param").is_some(),
            "{body}"
        ),
    }
    message.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn an_error_in_another_form_is_said_in_that_of_its_path_with_the_same_status() {
    let page = "<html><h1>413 Request Entity Too Large</h1></html>";
    let long = format!("<p>{}</p>", "é".repeat(10_000));
    let cases = [
        (
            Kind::Ollama,
            404,
            "404 page not found",
            "404 page not found",
        ),
        (Kind::Ollama, 413, page, page),
        (Kind::Ollama, 500, page, page),
        (Kind::Ollama, 400, r#"{"detail":"boom"}"#, "boom"),
        (
            Kind::Ollama,
            500,
            r#"[{"error":{"message":"boom"}}]"#,
            "boom",
        ),
        (
            Kind::OpenAi,
            422,
            r#"{"object":"error","message":"boom"}"#,
            "boom",
        ),
        (Kind::OpenAi, 413, &long, "<p>"),
        (Kind::OpenAi, 503, "later", "later"),
    ];
    let framings = [Framing::Length, Framing::Chunked, Framing::Close];
    for ((kind, status, body, said), framing) in cases.into_iter().zip(framings.into_iter().cycle())
    {
        let reply = Reply::ok("text/html", body).status(status).framed(framing);
        let server = Scripted::start(move |_| reply.clone()).await;
        let router = in_front_of(&[(&server, kind)]).await;
        for path in EVERY {
            if kind == Kind::OpenAi && path == "/api/chat" {
                continue;
            }
            let answer = posted(&router, path).await;
            assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
            assert!(!answer.broken, "{path} {body}");
            let kind = answer.header("content-type");
            assert!(kind.starts_with("application/json"), "{path}: {kind}");
            let message = message(path, &answer.json());
            assert!(message.starts_with(said), "{path}: {message}");
            assert!(message.len() < 5_000, "{path}: it is bounded");
        }
        router.finish().await;
    }
}

/// Ollama's own words where OpenAI's or Anthropic's are expected, and the other way round.
#[tokio::test]
async fn what_has_the_form_already_is_not_touched() {
    let forms = [
        r#"{"error":"boom","own":1}"#,
        r#"{"error":{"message":"boom","own":1}}"#,
        r#"{"own":1,"type":"error","error":{"type":"own","message":"boom"}}"#,
    ];
    for status in [400, 500] {
        for form in forms {
            let reply = Reply::ok("application/json", form).status(status);
            let server = Scripted::start(move |_| reply.clone()).await;
            let router = in_front_of(&[(&server, Kind::Ollama)]).await;
            for path in EVERY {
                let answer = posted(&router, path).await;
                assert_eq!(answer.status, status, "{path} {form}");
                let is_own = match path {
                    "/api/chat" => form == forms[0],
                    "/v1/messages" => form == forms[2],
                    _ => form != forms[0],
                };
                match is_own {
                    true => assert_eq!(answer.text(), form, "{path}"),
                    false => assert_eq!(message(path, &answer.json()), "boom", "{path} {form}"),
                }
            }
            router.finish().await;
        }
    }
}

#[tokio::test]
async fn two_servers_that_say_the_same_in_other_words_say_it_of_the_request() {
    let one = Reply::ok("text/plain", r#"{"error":"bad template"}"#).status(500);
    let other = r#"{"type":"error","error":{"type":"api_error","message":"bad template"},"request_id":"x"}"#;
    let other = Reply::ok("application/json", other).status(500);
    let (one, other) = (
        Scripted::start(move |_| one.clone()).await,
        Scripted::start(move |_| other.clone()).await,
    );
    let router = in_front_of(&[(&one, Kind::Ollama), (&other, Kind::Ollama)]).await;
    assert_eq!(posted(&router, "/v1/messages").await.status, 500);
    let observed = router.app.fleet().observed();
    assert!(observed.iter().all(|server| server.evidence.is_empty()));
    router.finish().await;
}
