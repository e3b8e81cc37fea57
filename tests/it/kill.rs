//! `kill -9` of the real program under load: what clients saw completed is counted, to the token.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use herdsman_simulator::{Config, Model, Simulator};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::TEST_TIMEOUT;

const ROUNDS: u32 = 10;
const CLIENTS: u32 = 16;

type Http = Client<HttpConnector, Full<Bytes>>;

/// What clients have seen.
#[derive(Default)]
struct Seen {
    /// Tokens of answers whose end a client saw.
    completed: AtomicI64,
    /// Tokens of answers the server finished, or may have, whose end no client saw.
    unacknowledged: AtomicI64,
}

struct Router(Child);

impl Router {
    fn spawn(server: &str, port: u16, dir: &TempDir) -> Self {
        let config = dir.path().join("config.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"{}\"\n[[endpoint]]\nurl = \"{server}\"\nname = \"gpu\"\n",
            dir.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_herdsman"))
            .args([
                "serve",
                "--config",
                config.to_str().unwrap(),
                "--set",
                "routing.slots=64",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        Self(child)
    }

    fn kill_9(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_kill_9_under_load_loses_and_duplicates_nothing() {
    let server = Simulator::start(Config {
        models: vec![Model::named("llama3.2")],
        parallel: 64,
        default_predict: 6,
        ..Config::default()
    })
    .await
    .unwrap();
    let dir = TempDir::new().unwrap();
    let port = free_port();
    let http: Http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let seen = Seen::default();

    for round in 0..ROUNDS {
        let mut router = Router::spawn(&server.url(), port, &dir);
        ready(&http, port).await;
        let stop = Instant::now() + Duration::from_millis(150 + u64::from(round) * 37);
        let load = join_all((0..CLIENTS).map(|i| client(&http, port, i % 2 == 0, &seen)));
        let kill = async {
            tokio::time::sleep_until(stop).await;
            router.kill_9();
        };
        tokio::join!(load, kill);
    }

    let router = Router::spawn(&server.url(), port, &dir);
    ready(&http, port).await;
    let (completed, unacknowledged) = (
        seen.completed.load(Ordering::SeqCst),
        seen.unacknowledged.load(Ordering::SeqCst),
    );
    assert!(completed > 1_000, "the load was too small: {completed}");
    // The replayed journal reaches the database within a flush interval; the count is then final.
    let counted = settled(&http, port).await;
    assert!(
        counted >= completed,
        "{counted} counted, clients saw {completed}"
    );
    assert!(
        counted <= completed + unacknowledged,
        "{counted} counted, clients saw {completed} and at most {unacknowledged} more were answered"
    );
    drop(router);
    server.stop().await;
}

/// Asks until the router is gone.
async fn client(http: &Http, port: u16, stream: bool, seen: &Seen) {
    let body = json!({"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    // Prompt and answer of every request are the same: so this is the cost of each lost one.
    let mut cost = 64;
    loop {
        let request = Request::post(format!("http://127.0.0.1:{port}/api/chat"));
        let request = request.body(Full::from(body.to_string())).unwrap();
        let last = async {
            let answer = http.request(request).await.ok()?;
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            let last = std::str::from_utf8(&body).ok()?.lines().last()?.to_owned();
            serde_json::from_str::<Value>(&last).ok()
        };
        match last.await {
            Some(last) if last["done"] == true => {
                cost = last["prompt_eval_count"].as_i64().unwrap()
                    + last["eval_count"].as_i64().unwrap();
                seen.completed.fetch_add(cost, Ordering::SeqCst);
            }
            _ => {
                seen.unacknowledged.fetch_add(cost, Ordering::SeqCst);
                return;
            }
        }
    }
}

async fn get(http: &Http, port: u16, path: &str) -> Option<Value> {
    let request = Request::get(format!("http://127.0.0.1:{port}{path}"));
    let answer = http
        .request(request.body(Full::default()).ok()?)
        .await
        .ok()?;
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

async fn ready(http: &Http, port: u16) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while get(http, port, "/health/ready").await.is_none() {
        assert!(
            Instant::now() < deadline,
            "the router does not become ready"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

/// The count in the database once nothing is pending.
async fn settled(http: &Http, port: u16) -> i64 {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        let metrics = Request::get(format!("http://127.0.0.1:{port}/metrics"));
        let metrics = http
            .request(metrics.body(Full::default()).unwrap())
            .await
            .unwrap();
        let text = metrics.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        let pending = text
            .lines()
            .find_map(|line| line.strip_prefix("herdsman_spend_records_pending_total "));
        if pending == Some("0") {
            return get(http, port, "/api/token_counts").await.unwrap()["total_tokens"]
                .as_i64()
                .unwrap();
        }
        assert!(Instant::now() < deadline, "still pending: {pending:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Free now; the router has to bind the same one after every restart.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
