//! Several routers on one database.

use std::time::Duration;

use herdsman::app::App;
use herdsman::config;
use herdsman_simulator::{Config, Model, Simulator};
use herdsman_test_support::redis;
use herdsman_test_support::sql::{Flavor, Server};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::registered::{Agent, options};
use crate::support::{Plan, TEST_TIMEOUT, TestRouter, configuration, eventually};

async fn database(flavor: Flavor) -> Server {
    let started = tokio::task::spawn_blocking(move || {
        let server = Server::start(flavor);
        server.create("herd");
        server
    });
    started.await.unwrap()
}

fn on(database: &Server) -> Plan {
    Plan::servers(1).set(&format!("store.url={}", database.url("herd")))
}

async fn has(router: &TestRouter, name: &str) {
    eventually(&format!("{name} is up"), || {
        let view = router.app.fleet().view();
        let mut up = view.up();
        up.any(|server| **server.endpoint.name() == *name && server.report.models.is_some())
    })
    .await;
}

fn has_not(router: &TestRouter, name: &str) -> bool {
    let observed = router.app.fleet().observed();
    !observed
        .iter()
        .any(|server| *server.id.name == *name && !server.leaving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_router_without_redis_says_why_it_does_not_start_and_one_after_the_first_does() {
    for flavor in [Flavor::Postgres, Flavor::MariaDb] {
        let database = database(flavor).await;
        let first = on(&database).start().await;
        let dir = tempfile::tempdir().unwrap();
        let url = format!("store.url={}", database.url("herd"));
        let config = configuration(dir.path(), &[url]);
        let refused = App::start(config.clone()).await.unwrap_err().to_string();
        assert!(
            refused.contains("another router uses this database"),
            "{refused}"
        );
        assert!(refused.contains("[redis]"), "{refused}");
        first.finish().await;
        let began = Instant::now();
        let second = App::start(config).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "the first has left nothing"
        );
        second.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_router_more_than_may_share_a_database_says_so_and_does_not_start() {
    let database = database(Flavor::Postgres).await;
    let redis = redis::Server::start().await;
    let url = redis.url();
    let first = on(&database).redis([&*url]).start().await;
    let others = |most: usize| {
        let rows = format!(
            "INSERT INTO model_instances (kind, name, host, port, url, run, incarnation, stopped, registered_at, \
             seen_at, lease_until, facts) \
             SELECT 'router', 'r' || i, '', 0, '', '', 1, 0, 0, 0, 9000000000000000, '{{\"shares\":true}}' \
             FROM generate_series(2, {most}) i"
        );
        database.sql("herd", &rows);
    };
    others(100);
    let dir = tempfile::tempdir().unwrap();
    let store = format!("store.url={}", database.url("herd"));
    let mut config = configuration(dir.path(), &[store]);
    config.redis = Some(config::Redis {
        database: vec![config::Database::at((&*url).into())],
        ..config::Redis::default()
    });
    let refused = App::start(config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("100 routers share"), "{refused}");
    database.sql("herd", "DELETE FROM model_instances WHERE name = 'r2'");
    App::start(config).await.unwrap().shutdown().await;
    first.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_router_is_told_all_of_them_know_within_a_second() {
    let database = database(Flavor::Postgres).await;
    let redis = redis::Server::start().await;
    let url = redis.url();
    let one = on(&database).redis([&*url]).start().await;
    let two = on(&database).redis([&*url]).start().await;
    let config = Config {
        models: vec![Model::named("phi4")],
        ..Config::default()
    };
    let (added, registered) = (
        Simulator::start(config.clone()).await.unwrap(),
        Simulator::start(config).await.unwrap(),
    );
    let body = json!({"name": "added", "url": added.url()});
    let made = one.admin(Method::POST, "/admin/endpoints", body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let began = Instant::now();
    eventually("it is added everywhere", || !has_not(&two, "added")).await;
    assert!(
        began.elapsed() < Duration::from_millis(1_900),
        "{:?}",
        began.elapsed()
    );
    let agent = Agent::start(options("gpu-7", &registered.url(), &[one.url()]));
    has(&one, "gpu-7").await;
    has(&two, "gpu-7").await;
    let cluster = two.get("/admin/cluster").await.json();
    assert_eq!(cluster["routers"].as_array().unwrap().len(), 2, "{cluster}");
    // A Redis that forgets everything is not where registrations are.
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let forgotten: String = ::redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(forgotten, "OK");
    agent.stop().await.unwrap();
    eventually("it has left everywhere", || {
        has_not(&one, "gpu-7") && has_not(&two, "gpu-7")
    })
    .await;
    one.finish().await;
    two.finish().await;
}

/// How the server is, as this router shows it.
async fn phase(router: &TestRouter, name: &str) -> String {
    let shown = router.get(&format!("/admin/endpoints/{name}")).await;
    let phase = &shown.json()["phase"];
    phase.as_str().unwrap_or_default().to_owned()
}

/// Waits until all of them show it so; returns how long that took.
async fn all_show(routers: &[&TestRouter], name: &str, phases: &[&str]) -> Duration {
    let began = Instant::now();
    let shown = timeout(TEST_TIMEOUT, async {
        for router in routers {
            while !phases.contains(&&*phase(router, name).await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    assert!(shown.await.is_ok(), "{name} is never {phases:?}");
    began.elapsed()
}

const DRAINED: &[&str] = &["draining", "drained"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_drained_through_one_router_is_drained_on_all_of_them_and_stays_so() {
    let database = database(Flavor::MariaDb).await;
    let redis = redis::Server::start().await;
    let url = redis.url();
    let plan = || {
        let mut shared = config::Endpoint::at("http://127.0.0.1:9".parse().unwrap());
        shared.name = "shared".to_owned();
        on(&database).redis([&*url]).and(shared)
    };
    let (one, two) = (plan().start().await, plan().start().await);
    let registered = Simulator::start(Config::default()).await.unwrap();
    let agent = Agent::start(options("gpu-7", &registered.url(), &[one.url(), two.url()]));
    has(&one, "gpu-7").await;
    has(&two, "gpu-7").await;
    for name in ["gpu-7", "shared"] {
        let path = format!("/admin/endpoints/{name}");
        let drained = one.admin(Method::PATCH, &path, json!({"phase": "draining"}));
        assert_eq!(drained.await.status, 200);
        let took = all_show(&[&one, &two], name, DRAINED).await;
        assert!(took < Duration::from_millis(1_900), "{took:?}");
    }
    // One of them is started anew, or reads its configuration again; the other has it still.
    let one = one.restarted(|_| {}).await;
    all_show(&[&one, &two], "shared", DRAINED).await;
    all_show(&[&one, &two], "gpu-7", DRAINED).await;
    let resumed = two.admin(Method::POST, "/admin/endpoints/gpu-7/resume", json!({}));
    assert_eq!(resumed.await.status, 200);
    let took = all_show(&[&two, &one], "gpu-7", &["up"]).await;
    assert!(took < Duration::from_millis(1_900), "{took:?}");
    // With the last router that had it, the drain of a server of the file ends, and no other.
    let drained = one.admin(Method::POST, "/admin/endpoints/gpu-7/drain", json!({}));
    assert_eq!(drained.await.status, 200);
    two.finish().await;
    let one = one.restarted(|_| {}).await;
    has_again(&one, "gpu-7").await;
    all_show(&[&one], "gpu-7", DRAINED).await;
    assert!(!DRAINED.contains(&&*phase(&one, "shared").await));
    // None of the addresses it knows is a router's any more.
    agent.kill();
    one.finish().await;
    registered.stop().await;
}

async fn has_again(router: &TestRouter, name: &str) {
    eventually(&format!("{name} is there"), || !has_not(router, name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_says_nothing_the_last_view_serves_and_nobody_waits_for_it() {
    let database = database(Flavor::Postgres).await;
    let router = on(&database).start().await;
    let config = Config {
        models: vec![Model::named("phi4")],
        default_predict: 4,
        ..Config::default()
    };
    let server = Simulator::start(config).await.unwrap();
    let agent = Agent::start(options("gpu-7", &server.url(), &[router.url()]));
    has(&router, "gpu-7").await;
    database.pause();
    let began = Instant::now();
    let worker = json!({"model_name": "a@llm", "host": "h", "port": 1});
    let refused = router.post("/api/controller/models", &worker).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    // For longer than a registration holds.
    while began.elapsed() < Duration::from_secs(14) {
        let chat = json!({"model": "phi4", "messages": [{"role": "user", "content": "x"}]});
        let answer = timeout(Duration::from_secs(2), router.post("/api/chat", &chat)).await;
        assert_eq!(answer.unwrap().status, 200);
        let health = timeout(Duration::from_secs(1), router.get("/api/health")).await;
        assert_eq!(health.unwrap().status, 200);
        let list = timeout(Duration::from_secs(1), router.get("/api/controller/models")).await;
        assert_eq!(list.unwrap().json().as_array().unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let cluster = router.get("/admin/cluster").await.json();
    assert_eq!(cluster["registry"]["available"], false, "{cluster}");
    database.resume();
    let back = timeout(TEST_TIMEOUT, async {
        while router.get("/admin/cluster").await.json()["registry"]["available"] != true {
            assert!(!has_not(&router, "gpu-7"));
            tokio::task::yield_now().await;
        }
    });
    assert!(back.await.is_ok());
    // It could renew nothing, and has time to.
    let renewed = timeout(TEST_TIMEOUT, async {
        while router.get("/admin/cluster").await.json()["agents"][0]["alive"] != true {
            assert!(!has_not(&router, "gpu-7"));
            tokio::task::yield_now().await;
        }
    });
    assert!(renewed.await.is_ok());
    assert!(!has_not(&router, "gpu-7"));
    agent.stop().await.unwrap();
    eventually("it has left", || has_not(&router, "gpu-7")).await;
    let left = router.get("/admin/endpoints/gpu-7").await;
    assert!(left.status == 404 || left.json()["source"] == Value::Null);
    router.finish().await;
}
