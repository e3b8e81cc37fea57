//! What a request holds of its limits goes by the field that its API has.

use http::Request;
use serde_json::{Value, json};

use super::PATHS;
use crate::support::{Plan, TestRouter};

/// A key with so many tokens a minute.
async fn key(router: &TestRouter, tpm: u64) -> String {
    let made = router.post("/admin/keys", &json!({"tpm": tpm})).await;
    let key = made.json()["key"].as_str().map(str::to_owned);
    key.unwrap_or_else(|| panic!("{}", made.text()))
}

async fn status(router: &TestRouter, path: &str, key: &str, body: &Value) -> u16 {
    let request = Request::post(format!("{}{path}", router.url()))
        .header("authorization", format!("Bearer {key}"));
    let request = request.body(body.to_string().into()).unwrap();
    router.request(request).await.whole().await.status.as_u16()
}

#[tokio::test]
async fn a_field_that_the_server_does_not_read_lets_nobody_past_a_limit() {
    let router = Plan::servers(1).start().await;
    let key = key(&router, 100).await;
    let paths = PATHS
        .iter()
        .copied()
        .chain(["/v1/chat/completions", "/v1/completions"]);
    for path in paths {
        let mut body = json!({
            "model": "llama3.2", "prompt": "hi", "input": "hi", "stream": false,
            "messages": [{"role": "user", "content": "hi"}],
            "max_completion_tokens": 1, "options": {"num_predict": 1},
        });
        let own = match path {
            "/v1/responses" => ("max_output_tokens", "max_tokens"),
            _ => ("max_tokens", "max_output_tokens"),
        };
        body[own.0] = json!(1000);
        body[own.1] = json!(1);
        assert_eq!(status(&router, path, &key, &body).await, 429, "{path}");
    }
    // What is not said holds what answers are usually like.
    let newer = json!({"model": "llama3.2", "stream": false, "max_completion_tokens": 1,
        "messages": [{"role": "user", "content": "hi"}]});
    let path = "/v1/chat/completions";
    assert_eq!(status(&router, path, &key, &newer).await, 429);
    router.finish().await;
}
