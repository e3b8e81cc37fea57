//! Errors of the router's, in the words of each dialect.

use http::Request;
use serde_json::{Value, json};

use super::{PATHS, ask};
use crate::support::{Answer, Plan, TestRouter};

async fn posted(router: &TestRouter, path: &str, key: &str, body: &Value) -> Answer {
    let request = Request::post(format!("{}{path}", router.url()))
        .header("x-api-key", key)
        .header("anthropic-version", "2023-06-01")
        .header("x-request-id", "req-1");
    let request = request.body(body.to_string().into()).unwrap();
    router.request(request).await.whole().await
}

/// What an error says it is, in either dialect.
fn error(path: &str, answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let error = &body["error"];
    if path == "/v1/messages" {
        assert_eq!(body["type"], "error", "{body}");
        assert_eq!(body["request_id"], "req-1", "{body}");
    } else {
        assert!(error.get("param").is_some(), "{body}");
    }
    let text = |key: &str| error[key].as_str().unwrap().to_owned();
    (answer.status.as_u16(), text("type"), text("message"))
}

#[tokio::test]
async fn refusals_are_said_in_the_dialect_of_the_path() {
    let router = Plan::servers(1).start().await;
    for path in PATHS {
        let mut unknown = ask(true);
        unknown["model"] = json!("nope");
        for (body, status, kind, message) in [
            (&unknown, 404, "not_found_error", "model 'nope' not found"),
            (
                &json!({"messages": []}),
                400,
                "invalid_request_error",
                "model is required",
            ),
        ] {
            let answer = posted(&router, path, "", body).await;
            let expected = (status, kind.to_owned(), message.to_owned());
            assert_eq!(error(path, &answer), expected, "{path}");
        }
        let answer = posted(&router, path, "", &json!([])).await;
        let (status, kind, message) = error(path, &answer);
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
        let package = if path == "/v1/messages" {
            "anthropic.MessagesRequest"
        } else {
            "openai.ResponsesRequest"
        };
        assert!(message.contains(package), "{message}");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_missing_key_is_said_in_the_dialect_of_the_path() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .start()
        .await;
    for path in PATHS {
        let answer = posted(&router, path, "sk-nobody", &ask(false)).await;
        let (status, kind, _) = error(path, &answer);
        assert_eq!((status, kind.as_str()), (401, "authentication_error"));
    }
    router.finish().await;
}

#[tokio::test]
async fn a_servers_own_refusal_passes_as_it_is() {
    let router = Plan::servers(1).start().await;
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let answer = router.post("/v1/messages", &body).await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(
        body["error"]["message"],
        "max_tokens is required and must be positive"
    );
    assert_ne!(body["request_id"], answer.header("x-request-id"));
    router.finish().await;
}
