//! Every call goes to one server, and its answer comes back as it was.

use herdsman_simulator::Model;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, Plan, TestRouter};

fn chat(stream: impl Into<Value>) -> Value {
    json!({"model": "llama3.2", "stream": stream.into(), "messages": [{"role": "user", "content": "hi"}]})
}

/// What the server itself answers.
async fn directly(router: &TestRouter, path: &str, body: &Value) -> Answer {
    let uri = format!("{}{path}", router.servers[0].url());
    let request = Request::post(uri)
        .body(Full::from(body.to_string()))
        .unwrap();
    router.request(request).await.whole().await
}

/// Times and the request's number differ between two answers; nothing else may.
fn comparable(answer: &Answer) -> Vec<String> {
    let scrub = |line: &str| {
        let mut text = String::new();
        let mut in_number = false;
        for c in line.chars() {
            let digit = c.is_ascii_digit();
            if !(digit && in_number) {
                text.push(if digit { '0' } else { c });
            }
            in_number = digit;
        }
        text
    };
    answer.text().split('\n').map(scrub).collect()
}

#[tokio::test]
async fn every_call_answers_as_the_server_does_streaming_and_not() {
    let router = Plan::servers(1)
        .each(|server| server.models.push(Model::named("embedder")))
        .start()
        .await;
    let prompt = json!({"model": "llama3.2", "prompt": "why is the sky blue?"});
    let with = |mut body: Value, key: &str, value: Value| {
        body[key] = value;
        body
    };
    let calls = [
        ("/api/chat", chat(Value::Null)),
        ("/api/chat", chat(true)),
        ("/api/chat", chat(false)),
        ("/api/generate", prompt.clone()),
        (
            "/api/generate",
            with(prompt.clone(), "stream", json!(false)),
        ),
        ("/api/generate", json!({"model": "llama3.2"})),
        (
            "/api/embed",
            json!({"model": "embedder", "input": ["a", "b"]}),
        ),
        (
            "/api/embeddings",
            json!({"model": "embedder", "prompt": "a"}),
        ),
        ("/api/show", json!({"model": "llama3.2"})),
        ("/v1/chat/completions", chat(false)),
        ("/v1/chat/completions", chat(true)),
        (
            "/v1/chat/completions",
            with(chat(true), "stream_options", json!({"include_usage": true})),
        ),
        ("/v1/completions", prompt.clone()),
        (
            "/v1/completions",
            with(prompt.clone(), "stream", json!(true)),
        ),
        ("/v1/embeddings", json!({"model": "embedder", "input": "a"})),
    ];
    // Loaded first, so that both answers come from a warm server.
    for model in ["llama3.2", "embedder"] {
        router
            .post("/api/generate", &json!({ "model": model }))
            .await;
    }
    for (path, body) in calls {
        let direct = directly(&router, path, &body).await;
        let routed = router.post(path, &body).await;
        assert_eq!(routed.status, direct.status, "{path} {body}");
        assert_eq!(
            routed.header("content-type"),
            direct.header("content-type"),
            "{path}"
        );
        let mut routed = comparable(&routed);
        if path == "/v1/completions" && body["stream"] == true {
            // Asked for usage, an Ollama adds it to every event, and only the last one is taken out again.
            let none = r#","usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
            routed
                .iter_mut()
                .for_each(|line| *line = line.replace(none, ""));
        }
        assert_eq!(routed, comparable(&direct), "{path} {body}");
    }
    router.finish().await;
}

#[tokio::test]
async fn response_headers_name_the_server_of_a_request() {
    let router = Plan::servers(1).start().await;
    let cold = router.post("/api/chat", &chat(false)).await;
    let warm = router.post("/api/chat", &chat(false)).await;
    assert_eq!(cold.header("x-herdsman-route"), "cold");
    assert_eq!(warm.header("x-herdsman-route"), "loaded");
    assert_eq!(warm.header("x-herdsman-endpoint"), "gpu-0");
    assert_eq!(warm.header("x-herdsman-attempts"), "1");
    assert_eq!(warm.header("x-herdsman-queue-ms"), "0");
    assert!(!warm.header("x-request-id").is_empty());

    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-request-id", "mine-1")
        .body(Full::from(chat(false).to_string()))
        .unwrap();
    let named = router.request(request).await.whole().await;
    assert_eq!(named.header("x-request-id"), "mine-1");
    router.finish().await;
}

#[tokio::test]
async fn every_spelling_of_a_model_finds_it_and_is_echoed_as_it_was() {
    let router = Plan::servers(1).start().await;
    for spelling in [
        "llama3.2",
        "LLAMA3.2:latest",
        "library/llama3.2",
        "registry.ollama.ai/library/llama3.2:latest",
    ] {
        let mut body = chat(false);
        body["model"] = json!(spelling);
        let answer = router.post("/api/chat", &body).await;
        assert_eq!(answer.status, 200, "{spelling}: {}", answer.text());
        assert_eq!(answer.json()["model"], spelling);
    }
    let counts = {
        router.counted().await;
        router.get("/api/token_counts").await.json()
    };
    assert_eq!(counts["breakdown"].as_array().unwrap().len(), 1, "{counts}");
    router.finish().await;
}

#[tokio::test]
async fn the_usage_event_is_hidden_from_a_client_that_did_not_ask() {
    let router = Plan::servers(1).start().await;
    let plain = router.post("/v1/chat/completions", &chat(true)).await;
    assert!(!plain.text().contains("\"usage\""), "{}", plain.text());
    assert!(plain.text().ends_with("data: [DONE]\n\n"));
    let mut asked = chat(true);
    asked["stream_options"] = json!({"include_usage": true});
    let asked = router.post("/v1/chat/completions", &asked).await;
    assert!(asked.text().contains("\"usage\""), "{}", asked.text());
    let (input, output) = router.counted().await;
    assert!(input > 0);
    assert_eq!(output, 16);
    router.finish().await;
}

#[tokio::test]
async fn the_client_may_name_the_servers_it_wants() {
    let router = Plan::servers(3).start().await;
    for name in ["gpu-2", "gpu-0"] {
        let request = Request::post(format!("{}/api/chat", router.url()))
            .header("x-herdsman-endpoints", name)
            .body(Full::from(chat(false).to_string()))
            .unwrap();
        let answer = router.request(request).await.whole().await;
        assert_eq!(answer.header("x-herdsman-endpoint"), name);
    }
    router.finish().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_get_ollamas_texts() {
    let router = Plan::servers(1).start().await;
    let unknown = router.get("/api/nothing").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.text()),
        (404, "404 page not found")
    );
    let wrong = router.get("/api/chat").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.text()),
        (405, "405 method not allowed")
    );
    let root = router.get("/").await;
    assert_eq!(
        (root.status.as_u16(), root.text()),
        (200, "Ollama is running")
    );
    for path in ["/", "/api/version", "/api/tags"] {
        let head = router
            .send(Method::HEAD, path, "".into())
            .await
            .whole()
            .await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
    }
    router.finish().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_and_a_page_of_this_machine_is_served() {
    let router = Plan::servers(1).start().await;
    let ask = |method: Method, origin: &str| {
        Request::builder()
            .method(method)
            .uri(format!("{}/api/tags", router.url()))
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .body(Full::default())
            .unwrap()
    };
    let evil = router.request(ask(Method::GET, "https://evil.test")).await;
    assert_eq!(evil.status, 403);
    let own = router
        .request(ask(Method::GET, "http://localhost:3000"))
        .await;
    assert_eq!(own.status, 200);
    assert_eq!(
        own.headers["access-control-allow-origin"],
        "http://localhost:3000"
    );
    let preflight = router
        .request(ask(Method::OPTIONS, "http://localhost:3000"))
        .await;
    assert_eq!(preflight.status, 204);
    let rebound = Request::get(format!("{}/", router.url())).header("host", "evil.test");
    let rebound = router.request(rebound.body(Full::default()).unwrap()).await;
    assert_eq!(rebound.status, 403);
    drop((evil, own, preflight, rebound));
    // The server never gets the page's origin, or it would refuse.
    let chat = Request::post(format!("{}/api/chat", router.url()))
        .header("origin", "http://localhost:3000")
        .header("referer", "http://localhost:3000/x")
        .body(Full::from(chat(false).to_string()))
        .unwrap();
    assert_eq!(router.request(chat).await.whole().await.status, 200);
    router.finish().await;
}
