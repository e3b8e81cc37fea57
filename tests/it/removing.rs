//! Servers that are taken out while something runs there, and rows that cannot be used.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use herdsman_simulator::{Config, Model, Simulator};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Plan, Stream, TestRouter, eventually};

const ALL: &str = "/admin/endpoints";
const OTHER: &str = "/admin/endpoints/other";
const NOW: &str = "/admin/endpoints/other?now=true";

/// Slow enough for its stream to be there until it is told to end.
async fn server() -> Simulator {
    let config = Config {
        models: vec![Model::named("llama3.2"), Model::named("phi4")],
        default_predict: 100_000,
        decode_interval: Duration::from_millis(10),
        ..Config::default()
    };
    Simulator::start(config).await.unwrap()
}

/// Beside `gpu-0` a server `other`, with a request running there.
async fn running(other: &Simulator) -> (TestRouter, Stream) {
    let router = Plan::servers(1).start().await;
    add(&router, other).await;
    let mut stream = ask(&router).await;
    stream.piece().await.unwrap();
    (router, stream)
}

async fn add(router: &TestRouter, other: &Simulator) {
    let added = json!({"name": "other", "url": other.url()});
    let added = router.admin(Method::POST, ALL, added).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text());
    eventually("it is up and lists its models", || {
        let view = router.app.fleet().view();
        let mut up = view.up();
        up.any(|server| &**server.endpoint.name() == "other" && server.report.models.is_some())
    })
    .await;
}

async fn ask(router: &TestRouter) -> Stream {
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let request = Request::post(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", "other")
        .body(body.to_string().into())
        .unwrap();
    router.request(request).await
}

async fn delete(router: &TestRouter, path: &str) -> Answer {
    router.admin(Method::DELETE, path, Value::Null).await
}

async fn is_gone(router: &TestRouter) {
    eventually("it is gone", || {
        router.app.fleet().view().servers.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_removed_at_once_and_is_added_again_meanwhile_serves() {
    let other = server().await;
    let (router, stream) = running(&other).await;
    // A lease that nothing ends keeps the server there.
    let endpoint = {
        let view = router.app.fleet().view();
        let mut servers = view.servers.iter();
        let server = servers.find(|server| &**server.endpoint.name() == "other");
        Arc::clone(&server.unwrap().endpoint)
    };
    assert_eq!(delete(&router, OTHER).await.status, 200);
    endpoint.abandon();
    eventually("it is abandoned", || endpoint.ejected().is_cancelled()).await;
    add(&router, &other).await;
    assert!(!endpoint.is_draining(), "it is the same one");
    let mut again = ask(&router).await;
    assert_eq!(again.status, 200);
    again.piece().await.unwrap();
    drop((stream, again));
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drains_after_its_removal_can_be_hurried() {
    let other = server().await;
    let (router, stream) = running(&other).await;
    assert_eq!(delete(&router, OTHER).await.json()["in_flight"], 1);
    assert_eq!(delete(&router, OTHER).await.status, 404, "it is removed");
    assert_eq!(delete(&router, NOW).await.status, 200);
    let text = stream.whole().await;
    assert!(text.text().contains("cancelled by an operator"));
    is_gone(&router).await;
    assert_eq!(delete(&router, NOW).await.status, 404);
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_server_that_finishes_has_no_part_in_changes_of_models() {
    let other = server().await;
    let (router, stream) = running(&other).await;
    assert_eq!(delete(&router, OTHER).await.status, 200);
    let body = json!({"source": "llama3.2", "destination": "mine"});
    let copied = router.post("/api/copy", &body).await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    assert_eq!(copied.header("x-herdsman-endpoints"), "gpu-0");
    drop(stream);
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_server_that_is_not_understood_is_named_as_the_obstacle_and_can_be_removed() {
    let other = server().await;
    let router = Plan::servers(1).start().await;
    add(&router, &other).await;
    let file = router.dir.path().join(herdsman::store::SQLITE_FILE);
    let mut database = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    database
        .batch_execute("PRAGMA busy_timeout = 10000; UPDATE endpoints SET settings = '{\"memory\":\"24GiB\"}', version = 7")
        .unwrap();
    let router = router.restarted(|_| {}).await;
    assert_eq!(router.app.fleet().view().servers.len(), 1);
    for body in [
        json!({"name": "other", "url": "http://127.0.0.1:9"}),
        json!({"name": "new", "url": other.url()}),
    ] {
        let refused = router.admin(Method::POST, ALL, body).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        let text = refused.text();
        assert!(text.contains("is not understood here"), "{text}");
    }
    assert_eq!(delete(&router, OTHER).await.status, 200);
    assert_eq!(delete(&router, OTHER).await.status, 404);
    add(&router, &other).await;
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_not_there_drains_where_it_is_seen_and_outlives_that_of_the_whole_server() {
    let router = Plan::servers(1).start().await;
    let call = async |what: &str, body: Value| {
        let path = format!("{ALL}/gpu-0/{what}");
        router.admin(Method::POST, &path, body).await.json()
    };
    let phi = json!({"model": "phi4"});
    let models = json!(["phi4:latest"]);
    let drained = call("drain", phi.clone()).await;
    assert_eq!([&drained["draining"], &drained["drained"]], [&models; 2]);
    assert_eq!(drained["phase"], "up");
    assert_eq!(call("drain", Value::Null).await["draining"], models);
    let resumed = call("resume", Value::Null).await;
    assert_eq!(
        [&resumed["phase"], &resumed["draining"]],
        [&json!("up"), &models]
    );
    assert_eq!(call("resume", phi).await["draining"], json!([]));
    router.finish().await;
}
