//! Names that stand for other models: what is listed, which model is used, and what is counted.

use std::time::Duration;

use herdsman::config;
use herdsman_simulator::{Fault, Model};
use http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Plan, TestRouter, eventually};

/// `gpu-0` has `big`, `gpu-1` has `small`, and `gpt-4o` stands for `missing`, `big` and `small`.
fn plan() -> Plan {
    Plan::servers(2)
        .server(0, |server| server.models = vec![Model::named("big")])
        .server(1, |server| server.models = vec![Model::named("small")])
        .set(r#"alias.0={ name = "gpt-4o", models = ["missing", "Big", "small"] }"#)
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": false})
}

/// The server that answered, the model in the header, and the one in the answer.
fn used(answer: &Answer) -> (&str, &str, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let model = answer.json()["model"].as_str().unwrap().to_owned();
    (
        answer.header("x-herdsman-endpoint"),
        answer.header("x-herdsman-model"),
        model,
    )
}

async fn ask(router: &TestRouter) -> Answer {
    router.post("/api/chat", &chat("GPT-4o:latest")).await
}

#[tokio::test]
async fn an_alias_gets_the_first_model_that_is_there_in_every_dialect() {
    let router = plan().start().await;
    let big = ("gpu-0", "Big", "Big".to_owned());
    assert_eq!(used(&ask(&router).await), big);
    let body = json!({"model": "gpt-4o", "max_tokens": 3, "input": "x", "prompt": "x", "stream": false,
        "messages": [{"role": "user", "content": "x"}]});
    for path in [
        "/api/generate",
        "/api/embed",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
    ] {
        let answer = router.post(path, &body).await;
        assert_eq!(used(&answer), big, "{path}");
    }
    let plain = router.post("/api/chat", &chat("big")).await;
    assert_eq!(used(&plain), ("gpu-0", "", "big".to_owned()));
    let shown = router.post("/api/show", &json!({"name": "gpt-4o"})).await;
    assert_eq!(
        (shown.status.as_u16(), shown.header("x-herdsman-model")),
        (200, "Big")
    );
    router.counted().await;
    let counts = router.get("/api/token_counts").await.text().to_owned();
    assert!(
        counts.contains("big:latest") && !counts.contains("gpt-4o"),
        "{counts}"
    );
    router.finish().await;
}

#[tokio::test]
async fn a_model_whose_server_is_down_is_replaced_and_used_again_when_it_is_back() {
    let router = plan().start().await;
    router.servers[0].fault(Fault::Refuse);
    // The first request finds out.
    for _ in 0..3 {
        let answer = ask(&router).await;
        assert_eq!(used(&answer), ("gpu-1", "small", "small".to_owned()));
    }
    let health = router.get("/health").await.json();
    assert_eq!(health["aliases"]["gpt-4o:latest"]["uses"], "small:latest");
    router.servers[0].clear_faults();
    eventually("the first model is there again", || {
        let view = router.app.fleet().view();
        view.up().count() == 2
    })
    .await;
    assert_eq!(used(&ask(&router).await).0, "gpu-0");
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_fails_a_request_before_the_first_byte_is_replaced() {
    for fault in [Fault::LoadFailure, Fault::InternalError, Fault::Busy] {
        // Both models on one server: it fails one of them.
        let router = plan()
            .server(0, |server| {
                server.models = vec![Model::named("big"), Model::named("small")];
            })
            .start()
            .await;
        router.servers[0].fault(fault.clone().on("big"));
        let answer = ask(&router).await;
        assert_eq!(used(&answer).1, "small", "{fault:?}");
        assert_eq!(answer.header("x-herdsman-attempts"), "2");
        router.counted().await;
        let counts = router.get("/api/token_counts").await.text().to_owned();
        assert!(
            counts.contains("small:latest") && !counts.contains("big"),
            "{counts}"
        );
        router.servers[0].clear_faults();
        router.finish().await;
    }
}

#[tokio::test]
async fn what_the_first_model_refuses_is_not_asked_of_the_next() {
    let router = plan().start().await;
    let body = json!({"model": "gpt-4o", "messages": "no list"});
    let answer = router.post("/api/chat", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-attempts"), "1");
    router.finish().await;
}

#[tokio::test]
async fn a_busy_model_is_waited_for() {
    let router = plan()
        .endpoint(0, |endpoint| {
            endpoint.slots = config::Slots::Fixed(1.try_into().unwrap());
        })
        .server(0, |server| {
            server.decode_interval = Duration::from_millis(5)
        })
        .start()
        .await;
    let (first, second) = tokio::join!(ask(&router), ask(&router));
    assert_eq!((used(&first).0, used(&second).0), ("gpu-0", "gpu-0"));
    router.finish().await;
}

#[tokio::test]
async fn an_alias_is_listed_as_its_model_and_hides_the_one_of_its_name() {
    let router = plan()
        .server(1, |server| {
            server.models = vec![Model::named("small"), Model::named("gpt-4o")];
        })
        .set(r#"alias.1={ name = "nothing", models = ["missing"] }"#)
        .start()
        .await;
    let tags = router.get("/api/tags").await.json();
    let entry = |name: &str| {
        let models = tags["models"].as_array().unwrap().iter();
        let found: Vec<_> = models.filter(|entry| entry["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name}: {tags}");
        found[0].clone()
    };
    let (alias, big) = (entry("gpt-4o:latest"), entry("big:latest"));
    assert_eq!(alias["digest"], big["digest"]);
    assert_eq!(alias["model"], "gpt-4o:latest");
    assert_eq!(tags["models"].as_array().unwrap().len(), 3);
    let models = router.get("/v1/models").await;
    assert!(
        models.text().contains(r#""id":"gpt-4o""#),
        "{}",
        models.text()
    );
    assert_eq!(router.get("/v1/models/gpt-4o").await.status, 200);
    assert_eq!(used(&ask(&router).await).1, "Big");
    let health = router.get("/health").await.json();
    let expected = json!({
        "models": ["missing:latest", "big:latest", "small:latest"],
        "uses": "big:latest",
        "hides_model": true,
    });
    assert_eq!(health["aliases"]["gpt-4o:latest"], expected);
    let nothing = &health["aliases"]["nothing:latest"];
    assert_eq!(
        (&nothing["uses"], &nothing["hides_model"]),
        (&Value::Null, &json!(false))
    );
    let answer = router.post("/api/chat", &chat("nothing")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["error"], "model 'missing' not found");
    router.finish().await;
}

#[tokio::test]
async fn a_key_gets_the_first_model_that_it_may_use() {
    let router = plan().start().await;
    let made = router
        .post("/admin/keys", &json!({"name": "k", "models": ["small"]}))
        .await;
    assert!(made.status.is_success(), "{}", made.text());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let with_key = |method: &str, path: &str, body: Value| {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", router.url()))
            .header("authorization", format!("Bearer {key}"));
        router.request(request.body(body.to_string().into()).unwrap())
    };
    let answer = with_key("POST", "/api/chat", chat("gpt-4o"))
        .await
        .whole()
        .await;
    assert_eq!(used(&answer).1, "small");
    let tags = with_key("GET", "/api/tags", Value::Null)
        .await
        .whole()
        .await;
    assert!(tags.text().contains("gpt-4o:latest") && !tags.text().contains("big"));
    let refused = with_key("POST", "/api/chat", chat("big"))
        .await
        .whole()
        .await;
    assert_eq!(refused.status, 403);
    router.finish().await;
}

#[tokio::test]
async fn an_alias_that_nobody_can_serve_says_so() {
    let router = plan().set("fleet.stale_after=1h").start().await;
    for server in &router.servers {
        server.fault(Fault::Refuse);
    }
    eventually("both are down", || {
        router.app.fleet().view().up().count() == 0
    })
    .await;
    let answer = ask(&router).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    for server in &router.servers {
        server.clear_faults();
    }
    router.finish().await;
}

/// `big` only on `gpu-0`, though both servers have it.
fn kept_apart() -> Plan {
    plan()
        .server(1, |server| {
            server.models = vec![Model::named("big"), Model::named("small")];
        })
        .set(r#"model.0={ name = "big", endpoints = ["gpu-0"] }"#)
}

#[tokio::test]
async fn each_model_of_an_alias_has_its_own_servers() {
    // The server of the first one fails the request.
    let router = kept_apart().start().await;
    router.servers[0].fault(Fault::InternalError);
    let answer = ask(&router).await;
    assert_eq!(used(&answer).1, "small");
    router.servers[0].clear_faults();
    // It takes nothing new.
    let drained = router
        .post("/admin/endpoints/gpu-0/drain", &json!({}))
        .await;
    assert!(drained.status.is_success(), "{}", drained.text());
    let answer = ask(&router).await;
    assert_eq!(used(&answer).1, "small");
    router.finish().await;
    // It is not one of the key's.
    let router = kept_apart().start().await;
    let made = router
        .post("/admin/keys", &json!({"name": "k", "servers": ["gpu-1"]}))
        .await;
    let bearer = format!("Bearer {}", made.json()["key"].as_str().unwrap());
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("authorization", bearer)
        .body(chat("gpt-4o").to_string().into());
    let answer = router.request(request.unwrap()).await.whole().await;
    assert_eq!(used(&answer), ("gpu-1", "small", "small".to_owned()));
    router.finish().await;
}

#[tokio::test]
async fn operators_see_the_model_that_answered() {
    let router = plan().start().await;
    router.servers[0].fault(Fault::InternalError);
    assert_eq!(used(&ask(&router).await).1, "small");
    router.counted().await;
    let ended = router.get("/admin/requests?ended=true").await.json();
    let last = &ended["requests"][0];
    assert_eq!(
        (&last["model"], &last["endpoint"]),
        (&json!("small:latest"), &json!("gpu-1")),
        "{ended}"
    );
    router.finish().await;
}
