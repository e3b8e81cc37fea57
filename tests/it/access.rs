//! Keys, limits, budgets and prices, through real sockets.

use std::time::Duration;

use bytes::Bytes;
use herdsman::domain::{EntityKind, UNATTRIBUTED};
use herdsman::store::Store;
use herdsman_simulator::{Fault, Model};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, Plan, Stream, TEST_TIMEOUT, TestRouter};

fn chat(stream: bool) -> Value {
    json!({"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": "hi there"}]})
}

/// A request with these headers.
async fn send(
    router: &TestRouter,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Stream {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", router.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    router.request(request.body(Full::new(body)).unwrap()).await
}

async fn admin(router: &TestRouter, method: Method, path: &str, body: Value) -> Answer {
    send(router, method, path, &[], &body).await.whole().await
}

/// A new account, as it is shown.
async fn made(router: &TestRouter, path: &str, body: Value) -> Value {
    let answer = admin(router, Method::POST, path, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// A new key: itself, and its id.
async fn key(router: &TestRouter, body: Value) -> (String, String) {
    let made = made(router, "/admin/keys", body).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

async fn ask(router: &TestRouter, path: &str, key: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    send(router, Method::POST, path, &headers, body)
        .await
        .whole()
        .await
}

/// A key as the password of somebody.
fn basic(key: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("ann:{key}"));
    format!("Basic {pair}")
}

/// What an entity has been charged, once everything recorded is in the database.
async fn charged(router: &TestRouter, kind: EntityKind, entity: &str) -> (i64, i64) {
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    let store = Store::open("", router.dir.path()).await.unwrap();
    let rows = store.spent(kind).await.unwrap();
    rows.iter()
        .find(|row| row.entity == entity)
        .map_or((0, 0), |row| (row.spend_nano_usd, row.requests))
}

#[tokio::test]
async fn a_key_is_asked_for_shown_once_and_taken_wherever_clients_put_it() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .start()
        .await;
    let refused = router.post("/api/chat", &chat(true)).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused.json()["error"]
            .as_str()
            .unwrap()
            .contains("no API key")
    );
    let refused = ask(&router, "/v1/chat/completions", "sk-nobody", &chat(false)).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"]["type"], "authentication_error");

    made(&router, "/admin/users", json!({"id": "ann"})).await;
    let (key, id) = key(&router, json!({"name": "laptop", "user": "ann"})).await;
    assert!(key.starts_with("sk-") && key.len() == 67, "{key}");
    let bearer = format!("Bearer {key}");
    for headers in [
        ("authorization", bearer.as_str()),
        ("x-api-key", key.as_str()),
        ("authorization", &basic(&key)),
    ] {
        for path in ["/api/chat", "/v1/chat/completions"] {
            let answer = send(&router, Method::POST, path, &[headers], &chat(true)).await;
            assert_eq!(answer.whole().await.status, 200, "{path} {headers:?}");
        }
    }
    let shown = admin(
        &router,
        Method::GET,
        &format!("/admin/keys/{id}"),
        Value::Null,
    )
    .await;
    assert_eq!(shown.json()["name"], "laptop");
    assert!(!shown.text().contains(&key));
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    for file in std::fs::read_dir(router.dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let text = std::fs::read(&path).unwrap();
            let found = text.windows(key.len()).any(|part| part == key.as_bytes());
            assert!(!found, "the key itself is in {}", path.display());
        }
    }
    router.finish().await;
}

#[tokio::test]
async fn keys_end_by_being_blocked_deleted_or_over_and_are_for_their_models_only() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .start()
        .await;
    let (blocked, id) = key(&router, json!({})).await;
    let path = format!("/admin/keys/{id}");
    let status = async |key: &str| ask(&router, "/api/chat", key, &chat(false)).await.status;
    assert_eq!(status(&blocked).await, 200);
    admin(&router, Method::PATCH, &path, json!({"blocked": true})).await;
    assert_eq!(status(&blocked).await, 401);
    admin(&router, Method::PATCH, &path, json!({"blocked": false})).await;
    assert_eq!(status(&blocked).await, 200);
    assert_eq!(
        admin(&router, Method::DELETE, &path, Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(status(&blocked).await, 401);
    assert_eq!(
        admin(&router, Method::DELETE, &path, Value::Null)
            .await
            .status,
        404
    );

    let (over, _) = key(&router, json!({"expires_at": 1_000_000})).await;
    let refused = ask(&router, "/api/chat", &over, &chat(false)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("expired"));

    let (narrow, _) = key(&router, json!({"models": ["qwen3:*"]})).await;
    let refused = ask(&router, "/api/chat", &narrow, &chat(false)).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.text().contains("may not use model"),
        "{}",
        refused.text()
    );

    made(
        &router,
        "/admin/teams",
        json!({"id": "blue", "blocked": true}),
    )
    .await;
    let (member, _) = key(&router, json!({"team": "blue"})).await;
    assert_eq!(status(&member).await, 403);
    router.finish().await;
}

#[tokio::test]
async fn without_require_key_any_key_is_admitted() {
    let router = Plan::servers(1).start().await;
    let answer = ask(&router, "/v1/chat/completions", "ollama", &chat(false)).await;
    assert_eq!(answer.status, 200);
    let (key, id) = key(&router, json!({"blocked": true})).await;
    assert_eq!(
        ask(&router, "/api/chat", &key, &chat(false)).await.status,
        401,
        "{id}"
    );
    router.finish().await;
}

#[tokio::test]
async fn rate_limits_say_when_to_retry() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(2);
        })
        .start()
        .await;
    let (one, _) = key(&router, json!({"parallel": 1})).await;
    let bearer = format!("Bearer {one}");
    let headers = [("authorization", bearer.as_str())];
    let mut open = send(&router, Method::POST, "/api/chat", &headers, &chat(true)).await;
    assert_eq!(open.status, 200);
    open.piece().await.unwrap();
    let refused = ask(&router, "/api/chat", &one, &chat(true)).await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.text().contains("limited to 1 requests at once"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("retry-after"), "1");
    drop(open);
    router.at_rest().await;
    let short = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "options": {"num_predict": 2}});
    eventually_ok(&router, &one, &short).await;

    let (slow, id) = key(&router, json!({"rpm": 2})).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&router, "/api/generate", &slow, &short).await.status);
    }
    // A minute may begin among them.
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused == 2 || refused == 1, "{statuses:?}");
    let refused = loop {
        let answer = ask(&router, "/v1/completions", &slow, &short).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 429, "{}", refused.text());
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");

    // A limit that is raised counts at once.
    let raised = json!({"rpm": 100_000});
    admin(&router, Method::PATCH, &format!("/admin/keys/{id}"), raised).await;
    eventually_ok(&router, &slow, &short).await;
    router.finish().await;
}

async fn eventually_ok(router: &TestRouter, key: &str, body: &Value) {
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    loop {
        let answer = ask(router, "/api/generate", key, body).await;
        if answer.status == 200 {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text());
    }
}

#[tokio::test]
async fn tokens_of_a_model_have_a_limit_of_their_own() {
    let router = Plan::servers(1).start().await;
    let limits = json!({"model_limits": {"LLAMA3.2": {"tpm": 20}}});
    let (key, _) = key(&router, limits).await;
    let body = |most: u32| json!({"model": "llama3.2", "stream": false, "prompt": "hi", "options": {"num_predict": most}});
    // A request that states its maximum is refused before it gets any token.
    let refused = ask(&router, "/api/generate", &key, &body(1_000)).await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.text().contains("with model 'llama3.2:latest'"),
        "{}",
        refused.text()
    );
    assert_eq!(
        ask(&router, "/api/generate", &key, &body(4)).await.status,
        200
    );
    router.finish().await;
}

/// A fleet whose servers have two models, and answers that take as long as the test wants.
async fn two_models() -> TestRouter {
    Plan::servers(1)
        .each(|server| {
            server.models.push(Model::named("qwen3"));
            server.default_predict = 100_000;
            server.decode_interval = Duration::from_millis(2);
        })
        .start()
        .await
}

#[tokio::test]
async fn requests_a_minute_of_a_model_have_a_limit_of_their_own() {
    let router = two_models().await;
    let limits = json!({"model_limits": {"llama3.2": {"rpm": 2}}});
    let (key, _) = key(&router, limits).await;
    let status = async |model: &str| {
        let body =
            json!({"model": model, "stream": false, "prompt": "hi", "options": {"num_predict": 1}});
        let answer = ask(&router, "/api/generate", &key, &body).await;
        if answer.status == 429 {
            let told =
                "the API key with model 'llama3.2:latest' is limited to 2 requests per minute";
            assert!(answer.text().contains(told), "{}", answer.text());
            let wait: u32 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
        answer.status
    };
    let mut let_in = 0;
    // A minute may begin among them, once.
    while status("llama3.2").await == 200 {
        let_in += 1;
        assert!(let_in <= 4, "{let_in}");
    }
    assert!(let_in >= 2, "{let_in}");
    // The other model is not limited, however often.
    for _ in 0..6 {
        assert_eq!(status("qwen3").await, 200);
    }
    router.finish().await;
}

#[tokio::test]
async fn requests_at_once_of_a_model_have_a_limit_of_their_own() {
    let router = two_models().await;
    let limits = json!({"model_limits": {"llama3.2": {"parallel": 1}}});
    let (key, _) = key(&router, limits).await;
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let long = |model: &str| json!({"model": model, "stream": true, "prompt": "hi"});
    let open = async |model: &str| {
        let mut open = send(
            &router,
            Method::POST,
            "/api/generate",
            &headers,
            &long(model),
        )
        .await;
        assert_eq!(open.status, 200, "{model}");
        open.piece().await.unwrap();
        open
    };
    let only = open("llama3.2").await;
    let refused = ask(&router, "/api/generate", &key, &long("llama3.2")).await;
    assert_eq!(refused.status, 429);
    let told = "with model 'llama3.2:latest' is limited to 1 requests at once";
    assert!(refused.text().contains(told), "{}", refused.text());
    // Another model of the same key, twice, and another key with the same model.
    let others = (open("qwen3").await, open("qwen3").await);
    let (free, _) = self::key(&router, json!({})).await;
    let short = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "options": {"num_predict": 1}});
    assert_eq!(
        ask(&router, "/api/generate", &free, &short).await.status,
        200
    );
    drop((only, others));
    eventually_ok(&router, &key, &short).await;
    router.finish().await;
}

#[tokio::test]
async fn requests_without_an_account_are_charged_to_no_account() {
    let router = Plan::servers(1)
        .set("price=[{ model = \"llama3.2\", output = 1.0 }]")
        .start()
        .await;
    let short = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "options": {"num_predict": 3}});
    assert_eq!(router.post("/api/generate", &short).await.status, 200);
    assert_eq!(
        ask(&router, "/api/generate", "whatever", &short)
            .await
            .status,
        200
    );
    assert_eq!(
        charged(&router, EntityKind::Key, UNATTRIBUTED).await,
        (2 * 3 * 1_000, 2)
    );
    // A key that is deleted while its request runs has its own row all the same.
    made(&router, "/admin/users", json!({"id": "gone"})).await;
    let (key, id) = key(&router, json!({"user": "gone"})).await;
    assert_eq!(
        ask(&router, "/api/generate", &key, &short).await.status,
        200
    );
    admin(
        &router,
        Method::DELETE,
        &format!("/admin/keys/{id}"),
        Value::Null,
    )
    .await;
    assert_eq!(charged(&router, EntityKind::Key, &id).await, (3_000, 1));
    assert_eq!(charged(&router, EntityKind::User, "gone").await, (3_000, 1));
    router.finish().await;
}

/// A server that had most of the prompt in its cache, and reports it.
#[tokio::test]
async fn cached_tokens_have_the_price_of_cached_tokens() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let usage = r#""usage":{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1010,"prompt_tokens_details":{"cached_tokens":900}}"#;
    let tasks = tokio_util::task::TaskTracker::new();
    let server = tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let streams = request.contains(r#""stream":true"#);
            let chat = format!(r#"{{"id":"1","choices":[{{"index":0}}],{usage}}}"#);
            let body = match request.split(' ').nth(1) {
                Some("/api/tags") => {
                    r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest"}]}"#.to_owned()
                }
                Some("/api/ps") => r#"{"models":[]}"#.to_owned(),
                Some("/api/version") => r#"{"version":"0.1.0"}"#.to_owned(),
                Some("/v1/chat/completions") if streams => {
                    format!("data: {chat}\n\ndata: [DONE]\n\n")
                }
                Some("/v1/chat/completions") => chat,
                _ => String::new(),
            };
            let kind = if streams { "text/event-stream" } else { "application/json" };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let router = Plan::servers(1)
        .endpoint(0, move |endpoint| endpoint.url = url.parse().unwrap())
        .set("price=[{ model = \"llama3.2\", input = 1.0, cached_input = 0.1, output = 2.0 }]")
        .start()
        .await;
    let (key, id) = key(&router, json!({})).await;
    // A hundred at a thousand nano-USD, nine hundred at a hundred, ten at two thousand.
    let cost = 100_000 + 90_000 + 20_000;
    for (times, stream) in [(1, false), (2, true)] {
        let answer = ask(&router, "/v1/chat/completions", &key, &chat(stream)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let charged = charged(&router, EntityKind::Key, &id).await;
        assert_eq!(charged, (times * cost, times), "streamed: {stream}");
    }
    server.abort();
    router.finish().await;
}

#[tokio::test]
async fn the_cost_of_a_request_is_charged_to_all_its_accounts_to_the_nano_usd() {
    let router = Plan::servers(1)
        .set("price=[{ model = \"llama3.2\", input = 0.05, output = 0.20 }]")
        .start()
        .await;
    made(&router, "/admin/orgs", json!({"id": "acme"})).await;
    made(
        &router,
        "/admin/teams",
        json!({"id": "blue", "org": "acme"}),
    )
    .await;
    made(&router, "/admin/users", json!({"id": "ann"})).await;
    let account = json!({"user": "ann", "team": "blue", "metadata": {"tags": ["batch"]}});
    let (key, id) = key(&router, account).await;
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-herdsman-tags", "night, batch"),
    ];
    let mut body = chat(false);
    body["user"] = "customer 7".into();
    let answer = send(
        &router,
        Method::POST,
        "/v1/chat/completions",
        &headers,
        &body,
    )
    .await
    .whole()
    .await;
    let usage = &answer.json()["usage"];
    let tokens = |name: &str| usage[name].as_i64().unwrap();
    // 50 and 200 nano-USD a token.
    let cost = 50 * tokens("prompt_tokens") + 200 * tokens("completion_tokens");
    assert!(cost > 0);
    for (kind, entity) in [
        (EntityKind::Key, id.as_str()),
        (EntityKind::User, "ann"),
        (EntityKind::Team, "blue"),
        (EntityKind::TeamMember, "blue/ann"),
        (EntityKind::Org, "acme"),
        (EntityKind::EndUser, "customer 7"),
        (EntityKind::Tag, "batch"),
        (EntityKind::Tag, "night"),
    ] {
        assert_eq!(
            charged(&router, kind, entity).await,
            (cost, 1),
            "{kind} {entity}"
        );
    }
    // The price at the end of a request counts.
    let twice = json!({"input_nano_usd": 100_000_000, "output_nano_usd": 400_000_000});
    let set = admin(&router, Method::PUT, "/admin/prices/llama3.2", twice).await;
    assert_eq!(set.status, 200, "{}", set.text());
    send(
        &router,
        Method::POST,
        "/v1/chat/completions",
        &headers,
        &body,
    )
    .await
    .whole()
    .await;
    assert_eq!(charged(&router, EntityKind::Key, &id).await, (3 * cost, 2));
    admin(
        &router,
        Method::DELETE,
        "/admin/prices/llama3.2",
        Value::Null,
    )
    .await;
    ask(&router, "/v1/chat/completions", &key, &chat(false)).await;
    assert_eq!(charged(&router, EntityKind::Key, &id).await, (4 * cost, 3));
    let shown = admin(
        &router,
        Method::GET,
        &format!("/admin/keys/{id}"),
        Value::Null,
    )
    .await;
    assert_eq!(shown.json()["spent_nano_usd"], 4 * cost);
    router.finish().await;
}

#[tokio::test]
async fn a_spent_budget_refuses_and_a_larger_one_admits_again() {
    let router = Plan::servers(1)
        .set("price=[{ model = \"llama3.2\", output = 1.0 }]")
        .start()
        .await;
    // A thousand nano-USD a token, eight tokens an answer.
    made(
        &router,
        "/admin/budgets",
        json!({"id": "small", "limit_nano_usd": 20_000, "period": "month"}),
    )
    .await;
    let (key, id) = key(&router, json!({"budget": "small"})).await;
    let eight = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "max_tokens": 8});
    let ask = async || ask(&router, "/v1/completions", &key, &eight).await;
    assert_eq!(ask().await.status, 200);
    assert_eq!(ask().await.status, 200);
    let refused = ask().await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert_eq!(refused.header("x-should-retry"), "false");
    assert!(
        refused
            .text()
            .contains("has spent its budget of 0.00002 USD"),
        "{}",
        refused.text()
    );
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!(wait <= 31 * 86_400);
    assert_eq!(charged(&router, EntityKind::Key, &id).await, (16_000, 2));

    let larger = json!({"limit_nano_usd": 24_000});
    admin(&router, Method::PATCH, "/admin/budgets/small", larger).await;
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    while ask().await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(ask().await.status, 429);
    assert_eq!(charged(&router, EntityKind::Key, &id).await.0, 24_000);

    router.finish().await;
}

#[tokio::test]
async fn a_request_without_an_answer_is_a_failed_one_and_costs_nothing() {
    let router = Plan::servers(1)
        .set("routing.queue_timeout=200ms")
        .start()
        .await;
    let (key, id) = key(&router, json!({})).await;
    let unknown = json!({"model": "nobody-has-this", "prompt": "hi", "stream": false});
    assert_eq!(
        ask(&router, "/api/generate", &key, &unknown).await.status,
        404
    );
    router.servers[0].fault(Fault::InternalError);
    let answer = ask(&router, "/api/chat", &key, &chat(false)).await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    router.app.spend().flush_now(TEST_TIMEOUT).await.unwrap();
    let store = Store::open("", router.dir.path()).await.unwrap();
    let days = store.daily_spent("0000", "9999", 100).await.unwrap();
    let days: Vec<_> = days
        .iter()
        .filter(|day| day.kind == "key" && day.entity == id)
        .collect();
    let failed: i64 = days.iter().map(|day| day.failed_requests).sum();
    let money: i64 = days.iter().map(|day| day.spend_nano_usd).sum();
    assert_eq!((failed, money), (2, 0));
    router.finish().await;
}

#[tokio::test]
async fn keys_known_before_an_outage_work_and_unknown_ones_are_refused() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .set("access.outage_grace=15s")
        .start()
        .await;
    let (key, _) = key(&router, json!({})).await;
    let (file, aside) = (
        router.dir.path().join("herdsman.db"),
        router.dir.path().join("aside"),
    );
    std::fs::rename(&file, &aside).unwrap();
    let status = async |key: &str| ask(&router, "/api/chat", key, &chat(false)).await.status;
    // First it is unknown, then that cannot be checked.
    let mut seen = vec![status("sk-unknown").await];
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    while *seen.last().unwrap() != StatusCode::SERVICE_UNAVAILABLE {
        assert!(tokio::time::Instant::now() < deadline, "{seen:?}");
        seen.push(status("sk-unknown").await);
    }
    assert_eq!(seen[0], 401);
    assert_eq!(status(&key).await, 200, "known before");
    // And after the grace no key is known any more.
    while status(&key).await != 503 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    std::fs::rename(&aside, &file).unwrap();
    while status(&key).await != 200 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(status("sk-unknown").await, 401);
    router.finish().await;
}

#[tokio::test]
async fn admin_calls_need_the_admin_key_where_there_is_one() {
    let router = Plan::servers(1)
        .set("access.admin_key=root-1")
        .start()
        .await;
    assert_eq!(router.get("/admin/keys").await.status, 401);
    assert_eq!(router.get("/admin/openapi.json").await.status, 401);
    let with = [("authorization", "Bearer root-1")];
    let listed = send(&router, Method::GET, "/admin/keys", &with, &Value::Null).await;
    assert_eq!(
        listed.whole().await.json(),
        json!({"items": [], "next": null})
    );
    router.finish().await;
}

#[tokio::test]
async fn every_call_that_is_described_is_answered() {
    let router = Plan::servers(1).start().await;
    let described = router.get("/admin/openapi.json").await.json();
    let mut calls = 0;
    let paths = described["paths"].as_object().unwrap().iter();
    // A stream does not end by itself.
    for (path, methods) in paths.filter(|(path, _)| *path != "/admin/events") {
        for method in methods.as_object().unwrap().keys() {
            let path = path
                .replace("{id}", "nobody")
                .replace("{name}", "nobody")
                .replace("{user}", "nobody")
                .replace("{model}", "nobody");
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            let body = json!({"nonsense": 1});
            let answer = admin(&router, method.clone(), &path, body).await;
            assert!(
                answer.status != 405 && !answer.text().contains("404 page not found"),
                "{method} {path}: {} {}",
                answer.status,
                answer.text()
            );
            calls += 1;
        }
    }
    assert!(calls >= 40, "{calls}");
    router.finish().await;
}

#[tokio::test]
async fn accounts_are_listed_by_page_changed_by_patch_and_checked() {
    let router = Plan::servers(1).start().await;
    for n in 0..5 {
        made(
            &router,
            "/admin/users",
            json!({"id": format!("user-{n}"), "rpm": 5}),
        )
        .await;
    }
    let page = router.get("/admin/users?limit=2").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(page["next"], "user-1");
    let page = router
        .get("/admin/users?limit=10&after=user-1")
        .await
        .json();
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["next"]),
        (3, &Value::Null)
    );

    let patch = json!({"rpm": null, "limit_nano_usd": 7, "period": "1d", "metadata": {"a": 1}});
    let changed = admin(&router, Method::PATCH, "/admin/users/user-0", patch)
        .await
        .json();
    assert_eq!(
        (&changed["rpm"], &changed["limit_nano_usd"]),
        (&Value::Null, &json!(7))
    );
    let again = admin(
        &router,
        Method::PATCH,
        "/admin/users/user-0",
        json!({"metadata": {"b": 2}}),
    )
    .await;
    assert_eq!(again.json()["metadata"], json!({"a": 1, "b": 2}));

    for (path, body, status, told) in [
        ("/admin/users", json!({"id": "user-0"}), 409, "exists"),
        ("/admin/users", json!({"id": "a/b"}), 400, "id:"),
        (
            "/admin/users",
            json!({"id": "x", "rmp": 1}),
            400,
            "unknown field",
        ),
        ("/admin/users", json!({"id": "x", "rpm": -1}), 400, "rpm:"),
        (
            "/admin/users",
            json!({"id": "x", "team": "t"}),
            400,
            "belongs to none",
        ),
        (
            "/admin/users",
            json!({"id": "x", "period": "soon"}),
            400,
            "period:",
        ),
        (
            "/admin/keys",
            json!({"id": "x"}),
            400,
            "follows from the key",
        ),
        ("/admin/keys", json!({"models": ["a b"]}), 400, "models:"),
        (
            "/admin/keys",
            json!({"metadata": {"tags": ["x".repeat(65)]}}),
            400,
            "tags:",
        ),
        ("/admin/users", json!({"id": "x".repeat(128)}), 400, "id:"),
        ("/admin/budgets", json!({}), 400, "id:"),
        (
            "/admin/keys",
            json!({"budget": "smal"}),
            400,
            "there is no budget 'smal'",
        ),
        (
            "/admin/teams",
            json!({"id": "x", "org": "acme"}),
            400,
            "there is no org 'acme'",
        ),
    ] {
        let answer = admin(&router, Method::POST, path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(told), "{path} {body}: {error}");
    }
    for (all, id) in [("/admin/teams", "blue"), ("/admin/users", "ann")] {
        made(&router, all, json!({ "id": id })).await;
    }
    let joined = admin(
        &router,
        Method::PUT,
        "/admin/teams/blue/members/ann",
        json!({"rpm": 3}),
    )
    .await;
    assert_eq!(joined.json()["id"], "blue/ann");
    let members = router.get("/admin/teams/blue/members").await.json();
    assert_eq!(members["items"].as_array().unwrap().len(), 1);
    router.finish().await;
}

/// A name that does not exist must not remove a limit: neither by a typing error, nor by deleting it.
#[tokio::test]
async fn deleting_what_limits_or_blocks_a_key_does_not_admit_it() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .start()
        .await;
    for (all, body) in [
        ("/admin/budgets", json!({"id": "none", "rpm": 0})),
        ("/admin/teams", json!({"id": "blue", "blocked": true})),
        ("/admin/users", json!({"id": "ann", "models": ["qwen3"]})),
    ] {
        made(&router, all, body).await;
    }
    let (limited, _) = key(&router, json!({"budget": "none"})).await;
    let (blocked, id) = key(&router, json!({"team": "blue", "user": "ann"})).await;
    let delete = async |path: &str| admin(&router, Method::DELETE, path, Value::Null).await;
    for (path, told) in [
        (
            "/admin/budgets/none",
            "budget 'none' is named by another account",
        ),
        (
            "/admin/teams/blue",
            "team 'blue' is named by another account",
        ),
        ("/admin/users/ann", "user 'ann' is named by another account"),
    ] {
        let refused = delete(path).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(told), "{error}");
    }
    let status = async |key: &str| ask(&router, "/api/chat", key, &chat(false)).await.status;
    assert_eq!(status(&limited).await, 429);
    assert_eq!(status(&blocked).await, 403);
    // By hand, or by a version that did not ask: a key that names them is still refused.
    crate::spend::sql(
        &router,
        "UPDATE access_version SET version = version + 1; \
         UPDATE accounts SET deleted_at = 1, version = (SELECT version FROM access_version) \
         WHERE kind IN ('budget', 'team', 'user')",
    );
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    for (key, told) in [
        (&limited, "budget 'none' does not exist"),
        (
            &blocked,
            "does not exist, and whoever names it is not let in",
        ),
    ] {
        loop {
            let refused = ask(&router, "/api/chat", key, &chat(false)).await;
            assert!(
                refused.status == 403 || refused.status == 429,
                "{}",
                refused.text()
            );
            if refused.text().contains(told) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{}", refused.text());
        }
    }
    // The key can be changed, and is still refused; it may name another user, who exists.
    let path = format!("/admin/keys/{id}");
    let patch = async |body: Value| admin(&router, Method::PATCH, &path, body).await;
    assert_eq!(patch(json!({"rpm": 5})).await.status, 200);
    assert_eq!(status(&blocked).await, 403);
    let refused = patch(json!({"user": "bob"})).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("there is no user 'bob'"),
        "{}",
        refused.text()
    );
    assert_eq!(patch(json!({"user": null, "team": null})).await.status, 200);
    assert_eq!(status(&blocked).await, 200);
    router.finish().await;
}

/// Fields of an account from a newer version are not understood by this one, and not lost either.
#[tokio::test]
async fn an_account_of_a_newer_version_is_neither_admitted_nor_overwritten() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .start()
        .await;
    let (key, id) = key(&router, json!({"rpm": 1_000_000})).await;
    assert_eq!(
        ask(&router, "/api/chat", &key, &chat(false)).await.status,
        200
    );
    let newer = r#"{"rpm":1000000,"requests_per_fortnight":3}"#;
    crate::spend::sql(
        &router,
        &format!(
            "UPDATE access_version SET version = version + 1; \
             UPDATE accounts SET rules = '{newer}', version = (SELECT version FROM access_version)"
        ),
    );
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    let refused = loop {
        let answer = ask(&router, "/api/chat", &key, &chat(false)).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline);
    };
    assert_eq!(refused.status, 403);
    assert!(
        refused.text().contains("does not understand"),
        "{}",
        refused.text()
    );
    let path = format!("/admin/keys/{id}");
    let shown = admin(&router, Method::GET, &path, Value::Null).await.json();
    assert_eq!(
        (&shown["understood"], &shown["blocked"]),
        (&json!(false), &json!(false))
    );
    for patch in [json!({"blocked": true}), json!({"rpm": 1})] {
        let refused = admin(&router, Method::PATCH, &path, patch).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("newer"), "{}", refused.text());
    }
    let after = admin(&router, Method::GET, &path, Value::Null).await.json();
    assert_eq!(after["version"], shown["version"], "nothing was written");
    assert_eq!(
        admin(&router, Method::DELETE, &path, Value::Null)
            .await
            .status,
        200
    );
    router.finish().await;
}

#[tokio::test]
async fn errors_of_admin_calls_are_json() {
    let router = Plan::servers(1).start().await;
    for (method, path, status) in [
        (Method::GET, "/admin/keys?limit=x", 400),
        (Method::GET, "/admin/keys?limt=5", 400),
        (Method::GET, "/admin/keys/%ff", 400),
        (Method::GET, "/admin/teams/blue/members?limit=-1", 400),
        (Method::GET, "/admin/teams/%ff/members/ann", 400),
        (Method::PUT, "/admin/prices/%ff", 400),
        (Method::PUT, "/admin/redis/one/weight", 400),
        (Method::GET, "/admin/spend?kind=nobody", 400),
        (Method::GET, "/admin/spend/dead-letters?limit=x", 400),
        (Method::GET, "/admin/spend/dead-letters/%ff", 400),
        (Method::GET, "/admin/keys/nobody", 404),
        (Method::GET, "/admin/nothing", 404),
        (Method::GET, "/admin/keys/", 404),
        (Method::PUT, "/admin/keys", 405),
    ] {
        let answer = admin(&router, method.clone(), path, Value::Null).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json"),
            "{method} {path}"
        );
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(!error.is_empty(), "{method} {path}");
        if status == 405 {
            assert_eq!(answer.header("allow"), "GET,HEAD,POST");
        }
    }
    router.finish().await;
}

#[tokio::test]
async fn tags_of_every_account_count_and_neither_tags_nor_budgets_have_any() {
    let router = Plan::servers(1)
        .set("price=[{ model = \"llama3.2\", output = 1.0 }]")
        .start()
        .await;
    let tagged = |id: &str, tag: &str| json!({"id": id, "metadata": {"tags": [tag]}});
    made(&router, "/admin/orgs", tagged("acme", "of-the-org")).await;
    made(&router, "/admin/users", tagged("ann", "of-the-user")).await;
    made(
        &router,
        "/admin/end-users",
        tagged("customer", "of-the-customer"),
    )
    .await;
    let mut team = tagged("blue", "of-the-team");
    team["org"] = "acme".into();
    made(&router, "/admin/teams", team).await;
    for all in ["/admin/tags", "/admin/budgets"] {
        let refused = admin(&router, Method::POST, all, tagged("x", "a")).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("has none"), "{}", refused.text());
    }
    let (key, _) = key(&router, json!({"user": "ann", "team": "blue"})).await;
    let body = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "max_tokens": 3, "user": "customer"});
    assert_eq!(
        ask(&router, "/v1/completions", &key, &body).await.status,
        200
    );
    for tag in [
        "of-the-org",
        "of-the-user",
        "of-the-team",
        "of-the-customer",
    ] {
        assert_eq!(
            charged(&router, EntityKind::Tag, tag).await,
            (3_000, 1),
            "{tag}"
        );
    }
    router.finish().await;
}

#[tokio::test]
async fn spending_is_booked_by_period_before_there_is_a_limit() {
    let router = Plan::servers(1)
        .set("price=[{ model = \"llama3.2\", output = 1.0 }]")
        .start()
        .await;
    let (key, id) = key(&router, json!({"period": "30d"})).await;
    let three = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "max_tokens": 3});
    assert_eq!(
        ask(&router, "/v1/completions", &key, &three).await.status,
        200
    );
    assert_eq!(charged(&router, EntityKind::Key, &id).await, (3_000, 1));
    let path = format!("/admin/keys/{id}");
    let shown = admin(&router, Method::GET, &path, Value::Null).await.json();
    assert_eq!(shown["spent_nano_usd"], 3_000);
    assert_eq!(shown["period_start"], shown["created_at"]);
    // Of a limit that is set now, that much is spent.
    let limit = json!({"limit_nano_usd": 5_999});
    assert_eq!(
        admin(&router, Method::PATCH, &path, limit).await.status,
        200
    );
    let refused = ask(&router, "/v1/completions", &key, &three).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    let limit = json!({"limit_nano_usd": 6_000});
    admin(&router, Method::PATCH, &path, limit).await;
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    while ask(&router, "/v1/completions", &key, &three).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(
        ask(&router, "/v1/completions", &key, &three).await.status,
        429
    );
    router.finish().await;
}

#[tokio::test]
async fn a_models_limits_are_changed_under_any_spelling_of_its_name() {
    let router = Plan::servers(1).start().await;
    let limits = json!({"model_limits": {"Llama3.2": {"rpm": 5, "tpm": 100}, "qwen3": null}});
    let (_, id) = key(&router, limits).await;
    let path = format!("/admin/keys/{id}");
    let patch = async |limits: Value| {
        let changed = admin(
            &router,
            Method::PATCH,
            &path,
            json!({ "model_limits": limits }),
        )
        .await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        changed.json()["model_limits"].clone()
    };
    let now = patch(json!({"llama3.2": {"rpm": 7, "tpm": null}})).await;
    assert_eq!(now["llama3.2:latest"]["rpm"], 7);
    assert_eq!(now["llama3.2:latest"]["tpm"], Value::Null);
    assert_eq!(now.as_object().unwrap().len(), 1);
    assert_eq!(patch(json!({"library/llama3.2": null})).await, json!({}));
    router.finish().await;
}

#[tokio::test]
async fn an_invalid_price_is_shown_in_the_metrics_until_it_is_valid() {
    let router = Plan::servers(1).start().await;
    let price = json!({"output_nano_usd": 1_000_000});
    let set = async || {
        admin(
            &router,
            Method::PUT,
            "/admin/prices/llama3.2",
            price.clone(),
        )
        .await
    };
    assert_eq!(set().await.status, 200);
    let seen = async |count: u32| {
        let line = format!("herdsman_access_prices_not_understood {count}\n");
        let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
        while !router.get("/metrics").await.text().contains(&line) {
            assert!(tokio::time::Instant::now() < deadline, "{line}");
        }
    };
    seen(0).await;
    crate::spend::sql(
        &router,
        "UPDATE access_version SET version = version + 1; \
         UPDATE prices SET output_nano_usd = -1, version = (SELECT version FROM access_version)",
    );
    seen(1).await;
    assert_eq!(set().await.status, 200);
    seen(0).await;
    router.finish().await;
}
