//! What `deploy/compose` describes, as plain processes, with its own files: two routers behind HAProxy, PostgreSQL,
//! two Redis databases, three simulated servers.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use herdsman_test_support::Port;
use herdsman_test_support::redis::Server as Redis;
use herdsman_test_support::sql::{Flavor, shared};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::several::Simulated;
use crate::support::{Program, TEST_TIMEOUT};

type Http = Client<HttpConnector, Full<Bytes>>;

fn shipped(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose");
    folder.join(file)
}

/// The shipped configuration, with the addresses of this test.
fn router(at: SocketAddr, dir: &Path, servers: &[String], redis: &[&Redis], url: &str) -> Program {
    let mut settings = vec![
        format!("server.listen={at}"),
        format!("server.data_dir={}", dir.display()),
    ];
    let server = |(i, url)| format!("endpoint.{i}.url={url}");
    settings.extend(servers.iter().enumerate().map(server));
    let database = |(i, redis): (_, &&Redis)| format!("redis.database.{i}.url={}", redis.url());
    settings.extend(redis.iter().enumerate().map(database));
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command
        .args(["serve", "--config"])
        .arg(shipped("router.toml"));
    for setting in settings {
        command.args(["--set", &setting]);
    }
    command
        .env("STORE_URL", url)
        .env("ADMIN_KEY", "of-this-test");
    Program::spawn(command.stdout(Stdio::null()))
}

/// HAProxy with its shipped configuration, likewise.
pub fn haproxy(at: SocketAddr, routers: &[SocketAddr], dir: &Path) -> Program {
    let mut config = fs::read_to_string(shipped("haproxy.cfg")).unwrap();
    let mut replace = |from: &str, to: &str| {
        assert!(config.contains(from), "haproxy.cfg has no {from}");
        config = config.replace(from, to);
    };
    replace("bind :11435", &format!("bind {at}"));
    for (i, router) in routers.iter().enumerate() {
        let name = format!(" router-{}:11435", i + 1);
        replace(&name, &format!(" {router}"));
    }
    let file = dir.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    Program::spawn(command.arg("-db").arg("-f").arg(file).stdout(Stdio::null()))
}

/// HAProxy knows that both routers are there.
async fn both_answer(http: &Http, at: SocketAddr) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    let mut instances = BTreeSet::new();
    while instances.len() < 2 {
        assert!(Instant::now() < deadline, "only {instances:?} answers");
        let request = Request::get(format!("http://{at}/api/version"));
        let request = request.body(Full::default()).unwrap();
        if let Ok(answer) = http.request(request).await
            && let Some(instance) = answer.headers().get("x-herdsman-instance")
        {
            instances.insert(instance.clone().to_str().unwrap().to_owned());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn chat(http: &Http, at: SocketAddr) -> (StatusCode, String) {
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]});
    let request = Request::post(format!("http://{at}/api/chat"));
    let request = request.body(Full::new(body.to_string().into())).unwrap();
    let Ok(Ok(answer)) = timeout(TEST_TIMEOUT, http.request(request)).await else {
        return (StatusCode::IM_A_TEAPOT, "no answer".to_owned());
    };
    let status = answer.status();
    let body = timeout(TEST_TIMEOUT, answer.into_body().collect()).await;
    let text = body.unwrap().map(|body| body.to_bytes().to_vec());
    let text = text.unwrap_or_else(|error| error.to_string().into());
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// Many at once: each has a whole answer.
async fn all_are_answered(http: &Http, at: SocketAddr) {
    for (status, text) in join_all((0..16).map(|_| chat(http, at))).await {
        assert_eq!(status, 200, "{text}");
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["done"], true, "{text}");
    }
}

async fn answers(http: &Http, at: SocketAddr, what: &str) {
    let deadline = Instant::now() + 2 * TEST_TIMEOUT;
    while chat(http, at).await.0 != 200 {
        assert!(Instant::now() < deadline, "{what} never answers");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_routers_behind_haproxy_go_on_when_one_is_killed_and_come_back() {
    let dir = TempDir::new().unwrap();
    let postgres = shared(Flavor::Postgres);
    let database = format!("deployed_{}", std::process::id());
    postgres.create(&database);
    let url = postgres.url(&database);
    let redis = [Redis::start().await, Redis::start().await];
    let redis: Vec<&Redis> = redis.iter().collect();
    let servers: Vec<Simulated> = (0..3)
        .map(|_| Simulated::start(&["--load", "1ms"]))
        .collect();
    let urls: Vec<String> = servers.iter().map(Simulated::url).collect();
    let ports = [Port::free(), Port::free()];
    let at: Vec<SocketAddr> = ports.iter().map(Port::addr).collect();
    let start = |i: usize| router(at[i], &dir.path().join(format!("{i}")), &urls, &redis, &url);
    let http: Http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let mut routers = [Some(start(0)), Some(start(1))];
    for (i, at) in at.iter().enumerate() {
        answers(&http, *at, &format!("router {i}")).await;
    }
    let front = Port::free();
    let balancer = haproxy(front.addr(), &at, dir.path());
    both_answer(&http, front.addr()).await;
    all_are_answered(&http, front.addr()).await;

    for killed in [0, 1] {
        // With SIGKILL: it says nothing to anybody.
        routers[killed] = None;
        all_are_answered(&http, front.addr()).await;
        routers[killed] = Some(start(killed));
        answers(&http, at[killed], "a router that was started again").await;
        // Before the other one may go.
        both_answer(&http, front.addr()).await;
    }
    drop((balancer, routers, servers));
}
