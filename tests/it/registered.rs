//! Servers that register themselves, by their agents, and workers of DB-GPT.

use std::time::Duration;

use futures_util::FutureExt as _;
use herdsman::agent::{self, Error, Options};
use herdsman::config::Kind;
use herdsman_simulator::{Config, Model, Simulator};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Answer, Plan, TEST_TIMEOUT, TestRouter, eventually};

const MODELS: &str = "/api/controller/models";
const HEARTBEAT: &str = "/api/controller/heartbeat";

/// A server that is in no configuration.
async fn server(model: &str) -> Simulator {
    let config = Config {
        models: vec![Model::named(model)],
        default_predict: 8,
        ..Config::default()
    };
    Simulator::start(config).await.unwrap()
}

pub fn options(name: &str, server: &str, routers: &[String]) -> Options {
    Options {
        join: routers.iter().map(|url| url.parse().unwrap()).collect(),
        key: String::new(),
        server: server.parse().unwrap(),
        advertise: None,
        name: name.to_owned(),
        kind: Kind::Ollama,
        slots: Some(3),
        weight: 1.0,
        priority: 0,
        labels: vec!["agents".to_owned()],
        models: vec![std::env::temp_dir()],
        grace: Duration::from_secs(5),
        announce: false,
    }
}

/// An agent in a task of its own, as a process is.
pub struct Agent {
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Agent {
    pub fn start(options: Options) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stopped = stopped.map(|_| ());
        let run = agent::run(options, stopped, std::future::pending());
        #[expect(clippy::disallowed_methods, reason = "it stands for another process")]
        let ended = tokio::spawn(run);
        Self {
            stop: Some(stop),
            ended,
        }
    }

    /// It ends by itself.
    pub async fn ended(self) -> Result<(), Error> {
        timeout(TEST_TIMEOUT, self.ended).await.unwrap().unwrap()
    }

    pub async fn stop(mut self) -> Result<(), Error> {
        drop(self.stop.take());
        self.ended().await
    }

    /// As if it was killed: nobody is told.
    pub fn kill(self) {
        self.ended.abort();
    }
}

async fn is_up(router: &TestRouter, name: &str) {
    eventually(&format!("{name} is up and lists its models"), || {
        let view = router.app.fleet().view();
        let mut up = view.up();
        up.any(|server| **server.endpoint.name() == *name && server.report.models.is_some())
    })
    .await;
}

async fn is_gone(router: &TestRouter, name: &str) {
    eventually(&format!("{name} is gone"), || {
        let observed = router.app.fleet().observed();
        !observed.iter().any(|server| *server.id.name == *name)
    })
    .await;
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}]})
}

fn worker(name: &str, port: u16) -> Value {
    json!({"model_name": name, "host": "127.0.0.1", "port": port, "weight": 1.0, "check_healthy": true,
           "healthy": false, "enabled": true, "prompt_template": null, "last_heartbeat": null,
           "remove_from_registry": false})
}

fn agent_of(name: &str, url: &str, run: &str, incarnation: i64) -> Value {
    json!({"model_name": format!("{name}@herdsman"), "host": "gpu", "port": 1,
           "agent": {"name": name, "url": url, "run": run, "incarnation": incarnation, "facts": {}}})
}

/// What is listed once it is as expected: a view follows what was written.
async fn listed(router: &TestRouter, query: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let path = format!("{MODELS}{query}");
    let mut last = Vec::new();
    let found = timeout(TEST_TIMEOUT, async {
        loop {
            last = router.get(&path).await.json().as_array().unwrap().clone();
            if holds(&last) {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(found.await.is_ok(), "{last:?}");
    last
}

async fn with_key(router: &TestRouter, path: &str, key: &str, body: &Value) -> Answer {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{path}", router.url()));
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = Full::new(body.to_string().into());
    router
        .request(request.body(body).unwrap())
        .await
        .whole()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_serves_while_its_agent_is_there_and_leaves_with_it() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    let agent = Agent::start(options("gpu-7", &other.url(), &[router.url()]));
    is_up(&router, "gpu-7").await;
    let shown = router.get("/admin/endpoints/gpu-7").await.json();
    assert_eq!(
        [&shown["source"], &shown["slots"], &shown["labels"]],
        [&json!("agent"), &json!(3), &json!(["agents"])]
    );
    let answer = router.post("/api/chat", &chat("phi4")).await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-7");
    let health = router.get("/health").await.json();
    assert_eq!(health["endpoints"]["gpu-7"]["status"], "ok");
    let cluster = router.get("/admin/cluster").await.json();
    let known = &cluster["agents"][0];
    assert_eq!(
        (&known["name"], &known["alive"]),
        (&json!("gpu-7"), &json!(true))
    );
    assert!(known["age_ms"].as_i64().unwrap() < 10_000, "{cluster}");
    assert_eq!(known["facts"]["models"], json!(["phi4:latest"]));
    assert!(known["facts"]["machine"]["memory"].is_number());
    assert_eq!(cluster["routers"][0]["this"], true);
    let removed = router
        .admin(Method::DELETE, "/admin/endpoints/gpu-7", Value::Null)
        .await;
    assert_eq!(removed.status, 409, "{}", removed.text());
    agent.stop().await.unwrap();
    is_gone(&router, "gpu-7").await;
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_leaves_waits_for_what_runs_and_nothing_new_begins_there() {
    let slow = Config {
        models: vec![Model::named("phi4")],
        default_predict: 60,
        decode_interval: Duration::from_millis(25),
        ..Config::default()
    };
    let other = Simulator::start(slow).await.unwrap();
    let router = Plan::servers(1).start().await;
    let agent = Agent::start(options("gpu-7", &other.url(), &[router.url()]));
    is_up(&router, "gpu-7").await;
    let mut running = router.stream("/api/chat", &chat("phi4")).await;
    assert!(running.piece().await.is_some());
    let (stopped, whole) = tokio::join!(agent.stop(), running.whole());
    stopped.unwrap();
    assert!(!whole.broken && whole.text().contains("\"done\":true"));
    is_gone(&router, "gpu-7").await;
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_survives_its_server_its_router_and_itself() {
    let other = server("phi4").await;
    let url = other.url();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let router = Plan::servers(1)
        .set(&format!("server.listen=127.0.0.1:{port}"))
        .start()
        .await;
    // The first address is nobody's: the next one is used at once.
    let addresses = ["http://127.0.0.1:1".to_owned(), router.url()];
    let agent = Agent::start(options("gpu-7", &url, &addresses));
    is_up(&router, "gpu-7").await;
    let router = router.restarted(|_| {}).await;
    is_up(&router, "gpu-7").await;
    // Killed and started again, before anybody has noticed.
    agent.kill();
    let agent = Agent::start(options("gpu-7", &url, &addresses));
    let reached = listed(&router, "", |all| !all.is_empty()).await;
    assert_eq!(reached[0]["model_name"], "gpu-7@herdsman");
    eventually("the new incarnation is known", || {
        let cluster = router.get("/admin/cluster").now_or_never();
        cluster.is_none_or(|answer| answer.json()["agents"][0]["incarnation"] == 2)
    })
    .await;
    other.stop().await;
    let mut why = Value::Null;
    let reported = timeout(TEST_TIMEOUT, async {
        while !why.is_string() {
            let cluster = router.get("/admin/cluster").await.json();
            why = cluster["agents"][0]["facts"]["why"].clone();
        }
    });
    assert!(reported.await.is_ok(), "a server that is gone is reported");
    agent.stop().await.unwrap();
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_key_may_not_register_and_who_has_it_may_show_it_in_the_address() {
    let other = server("phi4").await;
    let router = Plan::servers(1).set("access.join_key=secret").start().await;
    let worker = worker("llama3.2@llm", 8001);
    for (path, key, status) in [
        (MODELS, "", 401),
        (MODELS, "wrong", 401),
        ("/k/wrong/api/controller/models", "secret", 401),
        (MODELS, "secret", 200),
        ("/k/secret/api/controller/models", "", 200),
        ("/k/secret/api/controller/heartbeat", "", 200),
    ] {
        let answer = with_key(&router, path, key, &worker).await;
        assert_eq!(answer.status, status, "{path} {key}: {}", answer.text());
    }
    assert_eq!(router.get(MODELS).await.status, 401);
    assert_eq!(
        router.get("/k/secret/api/controller/models").await.status,
        200
    );
    assert_eq!(
        router.get("/api/health").await.json(),
        json!({"status": "ok"})
    );
    let mut wrong = options("gpu-7", &other.url(), &[router.url()]);
    wrong.key = "wrong".to_owned();
    let refused = Agent::start(wrong).ended().await.unwrap_err();
    assert!(refused.to_string().contains("join key"), "{refused}");
    let mut right = options("gpu-7", &other.url(), &[router.url()]);
    right.key = "secret".to_owned();
    let agent = Agent::start(right);
    is_up(&router, "gpu-7").await;
    agent.stop().await.unwrap();
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nobody_may_register_but_this_machine_itself() {
    let router = Plan::servers(1).start().await;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{MODELS}", router.url()))
        .header("x-forwarded-for", "192.0.2.7");
    let body = Full::new(worker("llama3.2@llm", 8001).to_string().into());
    let answer = router
        .request(request.body(body).unwrap())
        .await
        .whole()
        .await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("join_key"), "{}", answer.text());
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_dbgpt_register_and_are_listed_and_get_no_requests() {
    let router = Plan::servers(1).start().await;
    for call in [MODELS, HEARTBEAT] {
        for name in ["llama3.2@llm", "WorkerManager@service"] {
            let answer = router.post(call, &worker(name, 25411)).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "true"));
        }
    }
    let all = listed(&router, "?healthy_only=false", |all| all.len() == 2).await;
    let mut keys: Vec<&String> = all[1].as_object().unwrap().keys().collect();
    keys.sort();
    let expected = [
        "check_healthy",
        "enabled",
        "healthy",
        "host",
        "last_heartbeat",
        "model_name",
        "port",
        "prompt_template",
        "remove_from_registry",
        "weight",
    ];
    assert_eq!(keys, expected, "their command fails over one more");
    assert_eq!(
        (&all[1]["model_name"], &all[1]["healthy"]),
        (&json!("llama3.2@llm"), &json!(true))
    );
    let named = "?model_name=llama3.2%40llm&healthy_only=true";
    assert_eq!(
        router
            .get(&format!("{MODELS}{named}"))
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let leave = format!(
        "{MODELS}?model_name=llama3.2%40llm&host=127.0.0.1&port=25411&weight=1.0&remove_from_registry="
    );
    let left = router.admin(Method::DELETE, &leave, Value::Null).await;
    assert_eq!((left.status.as_u16(), left.text()), (200, "true"));
    listed(&router, named, |all| all.is_empty()).await;
    // A late heartbeat does not revive it.
    assert_eq!(
        router
            .post(HEARTBEAT, &worker("llama3.2@llm", 25411))
            .await
            .text(),
        "true"
    );
    let all = listed(&router, "?model_name=llama3.2%40llm", |all| all.len() == 1).await;
    assert_eq!(all[0]["healthy"], false);
    let bad = router
        .post(MODELS, &json!({"model_name": "x", "host": "h", "port": 1}))
        .await;
    assert_eq!(bad.status, 422, "{}", bad.text());
    assert_eq!(router.app.fleet().observed().len(), 1);
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_with_one_name_the_one_that_is_there_keeps_it_and_the_past_renews_nothing() {
    let router = Plan::servers(1).start().await;
    let register =
        async |url: &str, run: &str| router.post(MODELS, &agent_of("gpu-7", url, run, 0)).await;
    let first = register("http://10.0.0.7:1", "run-1").await;
    assert_eq!(first.json()["incarnation"], 1, "{}", first.text());
    let other = register("http://10.0.0.8:1", "run-2").await;
    assert_eq!(other.status, 409);
    assert!(
        other.text().contains("http://10.0.0.7:1"),
        "{}",
        other.text()
    );
    let restarted = register("http://10.0.0.7:1", "run-3").await;
    assert_eq!(restarted.json()["incarnation"], 2);
    let late = router
        .post(
            HEARTBEAT,
            &agent_of("gpu-7", "http://10.0.0.7:1", "run-1", 1),
        )
        .await;
    assert_eq!(late.status, 409, "{}", late.text());
    let unknown = router
        .post(
            HEARTBEAT,
            &agent_of("gpu-9", "http://10.0.0.7:1", "run-1", 1),
        )
        .await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    for (name, url) in [
        ("a,b", "http://10.0.0.7:1"),
        ("a@b", "http://10.0.0.7:1"),
        ("a", "gpu"),
    ] {
        let bad = router.post(MODELS, &agent_of(name, url, "run", 0)).await;
        assert_eq!(bad.status, 422, "{name} {url}: {}", bad.text());
    }
    // What could not be used is not taken.
    for (fact, value) in [
        ("kind", json!("abacus")),
        ("slots", json!(0)),
        ("weight", json!(-1)),
        ("labels", json!(["a,b"])),
    ] {
        let mut body = agent_of("a", "http://10.0.0.7:2", "run", 0);
        body["agent"]["facts"][fact] = value;
        let bad = router.post(MODELS, &body).await;
        assert_eq!(bad.status, 422, "{fact}: {}", bad.text());
    }
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_a_server_is_its_agent_s_whoever_comes_under_another_name() {
    let (one, two) = (server("phi4").await, server("qwen3").await);
    let router = Plan::servers(1).start().await;
    let agent = Agent::start(options("zeta", &one.url(), &[router.url()]));
    is_up(&router, "zeta").await;
    let port = one.url().rsplit_once(':').unwrap().1.to_owned();
    let url = one.url();
    for url in [
        &*url,
        &format!("{url}/"),
        &format!("http://LOCALHOST:{port}"),
    ] {
        let other = router.post(MODELS, &agent_of("alpha", url, "run", 0)).await;
        assert_eq!(other.status, 409, "{url}: {}", other.text());
        let detail = other.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("\"zeta\""), "{detail}");
    }
    // Nor does one that is registered elsewhere move there.
    let elsewhere = router
        .post(MODELS, &agent_of("alpha", &two.url(), "run", 0))
        .await;
    assert_eq!(elsewhere.json()["incarnation"], 1);
    let moved = router
        .post(MODELS, &agent_of("alpha", &one.url(), "run", 0))
        .await;
    assert_eq!(moved.status, 409, "{}", moved.text());
    let answer = router.post("/api/chat", &chat("phi4")).await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "zeta");
    // When it has ended, it is anybody's at once.
    agent.stop().await.unwrap();
    let taken = router
        .post(MODELS, &agent_of("beta", &one.url(), "run-2", 0))
        .await;
    assert_eq!(taken.json()["incarnation"], 1, "{}", taken.text());
    is_up(&router, "beta").await;
    is_gone(&router, "zeta").await;
    router.finish().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_told_apart_by_where_they_are_and_none_is_an_agent() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    let agent = Agent::start(options("gpu-7", &other.url(), &[router.url()]));
    is_up(&router, "gpu-7").await;
    // Two of one name, one that says it is the agent, and one whose clock is years off.
    let mut past = worker("old@llm", 8003);
    past["last_heartbeat"] = json!("2001-01-01T00:00:00.000000");
    for one in [
        worker("llama3.2@llm", 8001),
        worker("llama3.2@llm", 8002),
        worker("gpu-7@herdsman", 8001),
        past,
    ] {
        let answer = router.post(MODELS, &one).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "true"));
    }
    let all = listed(&router, "?healthy_only=true", |all| all.len() == 5).await;
    let ports = |name: &str| -> Vec<i64> {
        let named = all.iter().filter(|one| one["model_name"] == name);
        let mut ports: Vec<i64> = named.map(|one| one["port"].as_i64().unwrap()).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(ports("llama3.2@llm"), [8001, 8002]);
    assert_eq!(ports("gpu-7@herdsman").len(), 2, "{all:?}");
    let old = all
        .iter()
        .find(|one| one["model_name"] == "old@llm")
        .unwrap();
    assert!(!old["last_heartbeat"].as_str().unwrap().starts_with("2001"));
    // What leaves is the worker, not the agent.
    let leave = format!("{MODELS}?model_name=gpu-7%40herdsman&host=127.0.0.1&port=8001");
    let left = router.admin(Method::DELETE, &leave, Value::Null).await;
    assert_eq!(left.status, 200);
    let answer = router.post("/api/chat", &chat("phi4")).await;
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-7");
    assert!(
        !router
            .app
            .fleet()
            .observed()
            .iter()
            .any(|one| &*one.id.name == "llama3.2@llm")
    );
    agent.stop().await.unwrap();
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_is_refused_or_cut_and_many_that_come_at_once_are_all_seen() {
    let router = Plan::servers(1).start().await;
    let mut long = agent_of("long", "http://10.0.0.9:1", "run", 0);
    long["agent"]["facts"]["why"] = json!("x".repeat(10_000));
    let refused = router.post(MODELS, &long).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let mut worker = worker("llama3.2@llm", 8001);
    worker["prompt_template"] = json!("x".repeat(10_000));
    let refused = router.post(MODELS, &worker).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let models: Vec<String> = (0..900).map(|i| format!("model-{i}:latest")).collect();
    let many = (0..40).map(|i| {
        let (name, url) = (format!("gpu-{i}"), format!("http://10.0.0.7:{}", i + 1));
        let mut body = agent_of(&name, &url, "run", 0);
        body["agent"]["facts"]["models"] = json!(models);
        let router = &router;
        async move {
            // A machine that is slow has them come again.
            loop {
                let answer = router.post(MODELS, &body).await;
                if answer.status != 503 {
                    return answer.status;
                }
            }
        }
    });
    let statuses = futures_util::future::join_all(many).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    listed(&router, "?healthy_only=true", |all| all.len() == 40).await;
    router.finish().await;
}
