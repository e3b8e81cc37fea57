//! Servers that operators add, change, drain and remove while the router runs.

use herdsman::config;
use herdsman_simulator::{Config, Model, Simulator};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{Answer, Plan, TestRouter, eventually};

const ALL: &str = "/admin/endpoints";

/// A server that is in no configuration.
async fn server(model: &str) -> Simulator {
    let config = Config {
        models: vec![Model::named(model)],
        default_predict: 8,
        ..Config::default()
    };
    Simulator::start(config).await.unwrap()
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}]})
}

async fn add(router: &TestRouter, name: &str, url: &str) -> Value {
    let answer = router
        .admin(Method::POST, ALL, json!({"name": name, "url": url}))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

async fn shown(router: &TestRouter, name: &str) -> Value {
    router.get(&format!("{ALL}/{name}")).await.json()
}

/// That nothing runs there any more is found out behind the call.
fn drains(shown: &Value) -> bool {
    shown["phase"] == "draining" || shown["phase"] == "drained"
}

fn names(router: &TestRouter) -> Vec<String> {
    let observed = router.app.fleet().observed();
    let wanted = observed.iter().filter(|server| !server.leaving);
    wanted.map(|server| server.id.name.to_string()).collect()
}

async fn is_up(router: &TestRouter, name: &str) {
    eventually(&format!("{name} is up and lists its models"), || {
        let view = router.app.fleet().view();
        let mut up = view.up();
        up.any(|server| **server.endpoint.name() == *name && server.report.models.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_added_serves_and_is_there_again_after_a_restart() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    let made = add(&router, "added", &other.url()).await;
    assert_eq!(
        [&made["source"], &made["kind"], &made["weight"]],
        [&json!("admin"), &json!("ollama"), &json!(1.0)]
    );
    is_up(&router, "added").await;
    let answer = router.post("/api/chat", &chat("phi4")).await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "added");
    let changed = router
        .admin(
            Method::PATCH,
            "/admin/endpoints/added",
            json!({"weight": 2.5, "slots": 7, "labels": ["fast"], "api_key": "hunter2"}),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert!(!changed.text().contains("hunter2"));

    let router = router.restarted(|_| {}).await;
    assert_eq!(names(&router), ["gpu-0", "added"]);
    let server = shown(&router, "added").await;
    assert_eq!(
        [&server["weight"], &server["slots"], &server["labels"]],
        [&json!(2.5), &json!(7), &json!(["fast"])]
    );
    is_up(&router, "added").await;
    assert_eq!(router.post("/api/chat", &chat("phi4")).await.status, 200);

    let gone = router
        .admin(Method::DELETE, "/admin/endpoints/added", Value::Null)
        .await;
    assert_eq!(gone.json(), json!({"deleted": "added", "in_flight": 0}));
    assert_eq!(router.post("/api/chat", &chat("phi4")).await.status, 404);
    let router = router.restarted(|_| {}).await;
    assert_eq!(names(&router), ["gpu-0"], "for good");
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_server_is_refused_and_leaves_nothing() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    add(&router, "added", &other.url()).await;
    let port = other.url().rsplit_once(':').unwrap().1.to_owned();
    let itself = router.url();
    let of_file = router.servers[0].url();
    for (body, status, said) in [
        (json!({}), 400, "missing field `url`"),
        (
            json!({"url": "gpu-1"}),
            400,
            "must begin with http:// or https://",
        ),
        (
            json!({"url": "http://u:p@gpu-1"}),
            400,
            "may not carry a user or password",
        ),
        (
            json!({"url": "http://gpu-1", "name": "a,b"}),
            400,
            "name must be",
        ),
        (
            json!({"url": "http://gpu-1", "weight": 0}),
            400,
            "weight must be",
        ),
        (json!({"url": "http://gpu-1", "slots": 0}), 400, "from 1"),
        (
            json!({"url": "http://gpu-1", "colour": "red"}),
            400,
            "unknown field `colour`",
        ),
        (
            json!({"url": "http://gpu-1", "kind": "llama-server"}),
            400,
            "not available",
        ),
        (
            json!({"url": of_file, "name": "again"}),
            409,
            "it is the server \"gpu-0\"",
        ),
        (
            json!({"url": other.url(), "name": "again"}),
            409,
            "it is the server \"added\"",
        ),
        (
            json!({"url": format!("{}/", other.url()), "name": "again"}),
            409,
            "url is known",
        ),
        (
            json!({"url": format!("http://localhost:{port}"), "name": "again"}),
            409,
            "url is known",
        ),
        // A name that a resolver leads there.
        (
            json!({"url": format!("http://127.1:{port}"), "name": "again"}),
            409,
            "leads to a server that is known",
        ),
        (
            json!({"url": "http://gpu-1", "name": "gpu-0"}),
            409,
            "name is taken",
        ),
        (
            json!({"url": "http://gpu-1", "name": "added"}),
            409,
            "name is taken",
        ),
        (
            json!({"url": itself, "name": "myself"}),
            409,
            "this router itself listens there",
        ),
    ] {
        let answer = router.admin(Method::POST, ALL, body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(told.contains(said), "{body}: {}", answer.text());
    }
    let of = |name: &str| format!("{ALL}/{name}");
    for (method, path, body, status, said) in [
        (
            Method::PATCH,
            of("gpu-0"),
            json!({"weight": 2}),
            409,
            "change the file",
        ),
        (
            Method::DELETE,
            of("gpu-0"),
            Value::Null,
            409,
            "change the file",
        ),
        (
            Method::PATCH,
            of("added"),
            json!({"name": "x"}),
            400,
            "keeps its name",
        ),
        (
            Method::PATCH,
            of("added"),
            json!({"url": of_file}),
            409,
            "it is the server \"gpu-0\"",
        ),
        (
            Method::PATCH,
            of("added"),
            json!({"phase": "asleep"}),
            400,
            "phase:",
        ),
        (
            Method::PATCH,
            of("nobody"),
            json!({"weight": 2}),
            404,
            "no server \"nobody\"",
        ),
        (
            Method::GET,
            of("nobody"),
            Value::Null,
            404,
            "no server \"nobody\"",
        ),
        (
            Method::DELETE,
            of("nobody"),
            Value::Null,
            404,
            "no server \"nobody\"",
        ),
        (
            Method::POST,
            of("nobody/drain"),
            Value::Null,
            404,
            "no server \"nobody\"",
        ),
        (
            Method::POST,
            of("added/drain"),
            json!({"model": "a b"}),
            400,
            "model:",
        ),
    ] {
        let answer = router.admin(method.clone(), &path, body.clone()).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {path} {body}: {}",
            answer.text()
        );
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(
            told.contains(said),
            "{method} {path} {body}: {}",
            answer.text()
        );
    }
    assert_eq!(names(&router), ["gpu-0", "added"]);
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_drains_with_its_last_stream_says_so_and_goes_on_when_it_is_resumed() {
    let router = Plan::servers(2)
        .each(|server| {
            server.default_predict = 60;
            server.decode_interval = Duration::from_millis(10);
        })
        .start()
        .await;
    let mut stream = router.stream("/api/chat", &chat("llama3.2")).await;
    stream.piece().await.unwrap();
    let name = stream.headers["x-herdsman-endpoint"]
        .to_str()
        .unwrap()
        .to_owned();
    let generation = |router: &TestRouter| {
        let view = router.app.fleet().view();
        let mut servers = view.servers.iter();
        let server = servers
            .find(|server| **server.endpoint.name() == *name)
            .unwrap();
        server.endpoint.id().generation
    };
    let before = generation(&router);
    let path = format!("{ALL}/{name}");
    let phase = |body| router.admin(Method::PATCH, &path, body);
    let drained = phase(json!({"phase": "draining"})).await.json();
    assert_eq!(
        [&drained["phase"], &drained["in_flight"], &drained["source"]],
        [&json!("draining"), &json!(1), &json!("config")]
    );
    let short = json!({"model": "llama3.2", "prompt": "x", "options": {"num_predict": 1}});
    for _ in 0..8 {
        let answer = router.post("/api/generate", &short).await;
        assert_ne!(
            answer.header("x-herdsman-endpoint"),
            name,
            "{}",
            answer.text()
        );
    }
    assert_eq!(
        router.get("/health").await.json()["endpoints"][&name]["status"],
        "draining"
    );
    let answer = stream.whole().await;
    assert!(answer.text().contains("\"done\":true"), "{}", answer.text());
    eventually("it is drained", || {
        let observed = router.app.fleet().observed();
        let mut drained = observed.iter().filter(|server| *server.id.name == *name);
        drained.all(|server| server.phase == herdsman::fleet::Shown::Drained)
    })
    .await;
    assert_eq!(shown(&router, &name).await["phase"], "drained");
    // Its models are still there to see, as those of a server that is down.
    assert_eq!(
        router.get("/api/tags").await.json()["models"][0]["name"],
        "llama3.2:latest"
    );

    let resumed = phase(json!({"phase": "up"})).await.json();
    assert_eq!(resumed["phase"], "up");
    assert_eq!(generation(&router), before, "it is the same server");
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_drains_on_one_server_and_every_other_goes_on_there() {
    let router = Plan::servers(1)
        .each(|server| server.models = vec![Model::named("llama3.2"), Model::named("phi4")])
        .start()
        .await;
    let model = json!({"model": "phi4"});
    let drained = router
        .admin(Method::POST, "/admin/endpoints/gpu-0/drain", model.clone())
        .await
        .json();
    assert_eq!(
        [&drained["phase"], &drained["draining"]],
        [&json!("up"), &json!(["phi4:latest"])]
    );
    assert_eq!(
        router.post("/api/chat", &chat("llama3.2")).await.status,
        200
    );
    let refused = router.post("/api/chat", &chat("phi4")).await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    eventually("nothing of it runs there", || {
        let observed = router.app.fleet().observed();
        let mut held = observed[0].held.iter();
        held.any(|held| held.drained)
    })
    .await;
    assert_eq!(
        shown(&router, "gpu-0").await["drained"],
        json!(["phi4:latest"])
    );
    let resumed = router
        .admin(Method::POST, "/admin/endpoints/gpu-0/resume", model)
        .await
        .json();
    assert_eq!(resumed["draining"], json!([]));
    assert_eq!(router.post("/api/chat", &chat("phi4")).await.status, 200);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_an_added_server_outlives_a_restart_and_that_of_a_configured_one_does_not() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    add(&router, "added", &other.url()).await;
    for name in ["gpu-0", "added"] {
        let drained = router
            .admin(Method::POST, &format!("{ALL}/{name}/drain"), Value::Null)
            .await;
        assert!(drains(&drained.json()), "{}", drained.text());
    }
    let router = router.restarted(|_| {}).await;
    assert!(drains(&shown(&router, "added").await));
    assert_eq!(shown(&router, "gpu-0").await["phase"], "up");
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_the_router_serves_the_servers_of_its_file() {
    let router = Plan::servers(1)
        .set("store.url=postgres://127.0.0.1:1/none")
        .start()
        .await;
    assert_eq!(
        router.post("/api/chat", &chat("llama3.2")).await.status,
        200
    );
    let refused = router
        .admin(Method::POST, ALL, json!({"url": "http://gpu-9:1"}))
        .await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.text().contains("did not keep it"),
        "{}",
        refused.text()
    );
    assert_eq!(names(&router), ["gpu-0"]);
    // What is not kept needs no database.
    let drained = router
        .admin(Method::POST, "/admin/endpoints/gpu-0/drain", Value::Null)
        .await;
    assert!(drains(&drained.json()), "{}", drained.text());
    let TestRouter { app, servers, .. } = router;
    app.shutdown().await;
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_named_stand_in_place_of_stored_ones() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    add(&router, "added", &other.url()).await;
    let router = router.restarted(|config| config.only_named = true).await;
    assert_eq!(names(&router), ["gpu-0"]);
    add(&router, "for-now", &other.url()).await;
    let router = router.restarted(|_| {}).await;
    assert_eq!(names(&router), ["gpu-0"], "it was not kept");
    let router = router.restarted(|config| config.only_named = false).await;
    assert_eq!(names(&router), ["gpu-0", "added"]);
    router.finish().await;
    other.stop().await;
}

/// With a key, and this in `x-herdsman-endpoints`, if it is anything.
async fn asked(router: &TestRouter, key: &str, only: &str) -> Answer {
    let mut request = Request::post(format!("{}/api/chat", router.url()))
        .header("authorization", format!("Bearer {key}"));
    if !only.is_empty() {
        request = request.header("x-herdsman-endpoints", only);
    }
    let request = request.body(chat("llama3.2").to_string().into()).unwrap();
    router.request(request).await.whole().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_requests_are_limited_to_servers_by_name_and_by_label() {
    let labelled = |endpoint: &mut config::Endpoint| endpoint.labels = vec!["fast".to_owned()];
    let router = Plan::servers(3)
        .endpoint(1, labelled)
        .endpoint(2, labelled)
        .start()
        .await;
    let key = async |servers: Value| {
        let made = router
            .admin(Method::POST, "/admin/keys", json!({"servers": servers}))
            .await;
        assert_eq!(made.status, 201, "{}", made.text());
        assert_eq!(made.json()["servers"], servers);
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (any, fast, one, nowhere) = (
        key(json!([])).await,
        key(json!(["fast"])).await,
        key(json!(["gpu-0"])).await,
        key(json!(["gpu-9"])).await,
    );
    for _ in 0..8 {
        let answer = asked(&router, &any, "fast").await;
        assert_ne!(answer.header("x-herdsman-endpoint"), "gpu-0");
        let answer = asked(&router, &fast, "").await;
        assert_ne!(answer.header("x-herdsman-endpoint"), "gpu-0");
        let answer = asked(&router, &fast, "gpu-2").await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-2");
        let answer = asked(&router, &one, "").await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
    }
    let refused = asked(&router, &nowhere, "").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(
        refused
            .text()
            .contains("on no server that may be used with this key")
    );
    for (key, shown) in [(&one, 1), (&nowhere, 0)] {
        let request = Request::get(format!("{}/api/tags", router.url()))
            .header("authorization", format!("Bearer {key}"))
            .body(bytes::Bytes::new().into())
            .unwrap();
        let tags = router.request(request).await.whole().await.json();
        assert_eq!(tags["models"].as_array().unwrap().len(), shown, "{tags}");
    }
    // Where both say something, both count.
    assert_eq!(asked(&router, &one, "fast").await.status, 502);
    router.finish().await;
}
