//! Errors in the place of an answer, said by the type of the first event.

use herdsman::config::Kind;
use serde_json::json;

use super::{ask, in_front_of};
use crate::support::{Reply, Scripted};

/// The path, the event, and the status that it is.
fn errors() -> Vec<(&'static str, String, u16)> {
    let (responses, messages) = ("/v1/responses", "/v1/messages");
    let typed =
        |code: &str| json!({"type": "error", "code": code, "message": "boom", "param": null});
    let failed = |code: &str| {
        let response = json!({"id": "r", "status": "failed", "error": {"code": code, "message": "boom"},
            "usage": {"input_tokens": 4, "output_tokens": 2}});
        json!({"type": "response.failed", "sequence_number": 0, "response": response})
    };
    let anthropic =
        |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "boom"}});
    let data = |data: serde_json::Value| format!("data: {data}\n\n");
    vec![
        (responses, data(typed("server_error")), 500),
        (responses, data(typed("rate_limit_exceeded")), 429),
        (
            responses,
            format!("event: error\n{}", data(typed("server_error"))),
            500,
        ),
        (responses, data(failed("server_error")), 500),
        (
            responses,
            format!(": ping\n\n{}", data(failed("rate_limit_exceeded"))),
            429,
        ),
        (
            responses,
            format!("{}data: [DONE]\n\n", data(failed("server_error"))),
            500,
        ),
        (messages, data(anthropic("api_error")), 500),
        (messages, data(anthropic("overloaded_error")), 503),
        (
            messages,
            data(json!({"type": "error", "message": "boom"})),
            500,
        ),
    ]
}

#[tokio::test]
async fn another_server_is_tried() {
    for (path, events, _) in errors() {
        let broken = Reply::ok("text/event-stream", events.clone());
        let broken = Scripted::start(move |_| broken.clone()).await;
        let answer = match path {
            "/v1/messages" => r#"{"type":"message","usage":{"input_tokens":7,"output_tokens":3}}"#,
            _ => r#"{"object":"response","usage":{"input_tokens":7,"output_tokens":3}}"#,
        };
        let serves = Scripted::start(move |_| Reply::ok("application/json", answer)).await;
        let servers = [(&broken, Kind::Ollama), (&serves, Kind::Ollama)];
        let router = in_front_of(&servers).await;
        let answer = router.post(path, &ask(true)).await;
        assert_eq!(answer.status, 200, "{events}: {}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "odd-1", "{events}");
        assert_eq!(router.counted().await, (7, 3), "{events}");
        router.finish().await;
    }
}

#[tokio::test]
async fn without_another_server_it_has_its_status_and_the_form_of_its_path_and_costs_nothing() {
    for (path, events, status) in errors() {
        let broken = Reply::ok("text/event-stream", events.clone());
        let broken = Scripted::start(move |_| broken.clone()).await;
        let router = in_front_of(&[(&broken, Kind::OpenAi)]).await;
        let answer = router.post(path, &ask(true)).await;
        assert_eq!(answer.status, status, "{events}: {}", answer.text());
        let kind = answer.header("content-type");
        assert!(kind.starts_with("application/json"), "{events}: {kind}");
        let body = answer.json();
        assert_eq!(body["error"]["message"], "boom", "{events}: {body}");
        assert!(body["error"]["type"].is_string(), "{events}: {body}");
        if path == "/v1/messages" {
            assert_eq!(body["type"], "error", "{events}: {body}");
        }
        assert_eq!(router.counted().await, (0, 0), "{events}");
        router.finish().await;
    }
}
