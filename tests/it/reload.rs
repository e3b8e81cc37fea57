//! The configuration, read again by a running program.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use herdsman_simulator::{Config, Model, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::PATIENCE;

/// The real program, and what it says on stderr, line by line.
struct Router {
    child: Child,
    log: mpsc::Receiver<String>,
    address: String,
}

impl Router {
    /// In the folder of this file, which is the one it reads unless told otherwise.
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_herdsman"))
            .current_dir(config.parent().unwrap())
            .env("HERDSMAN_LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (told, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    break;
                }
            }
        });
        let mut router = Self {
            child,
            log,
            address: String::new(),
        };
        let listening = router.says("listening");
        let line: Value = serde_json::from_str(&listening).unwrap();
        let address = line["fields"]["address"]
            .as_str()
            .or(line["address"].as_str());
        router.address = format!("http://{}", address.unwrap());
        router
    }

    /// The next line with these words.
    fn says(&self, words: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("never said: {words}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    fn hang_up(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(sent.success());
    }

    async fn call(
        &self,
        method: http::Method,
        path: &str,
        bearer: &str,
        body: Value,
    ) -> (u16, Value) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("authorization", format!("Bearer {bearer}"))
            .body(http_body_util::Full::new(bytes::Bytes::from(
                body.to_string(),
            )))
            .unwrap();
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Full<bytes::Bytes>>();
        let answer = client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap();
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        (status, body)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(dir: &TempDir, server: &str, output: f64, admin_key: &str, more: &str) -> PathBuf {
    let path = dir.path().join("config.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n[[endpoint]]\nurl = \"{server}\"\n\
         [access]\nadmin_key = \"{admin_key}\"\n[[price]]\nmodel = \"llama3.2\"\noutput = {output:?}\n{more}\n",
        dir.path().join("data").display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// What four tokens cost now, once it is in the database.
async fn cost(router: &Router, admin_key: &str) -> i64 {
    let made = router
        .call(http::Method::POST, "/admin/keys", admin_key, json!({}))
        .await;
    assert_eq!(made.0, 201, "{made:?}");
    let text = |name: &str| made.1[name].as_str().unwrap().to_owned();
    let body = json!({"model": "llama3.2", "stream": false, "prompt": "hi", "options": {"num_predict": 4}});
    let answer = router
        .call(http::Method::POST, "/api/generate", &text("key"), body)
        .await;
    assert_eq!(answer.0, 200, "{answer:?}");
    assert_eq!(answer.1["eval_count"], 4);
    let path = format!("/admin/keys/{}", text("id"));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let shown = router
            .call(http::Method::GET, &path, admin_key, Value::Null)
            .await
            .1;
        let spent = shown["spent_nano_usd"].as_i64().unwrap();
        if spent > 0 {
            return spent;
        }
        assert!(tokio::time::Instant::now() < deadline, "{shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_router_takes_new_prices_and_keys_and_says_what_it_cannot_take() {
    let server = Simulator::start(Config {
        models: vec![Model::named("llama3.2")],
        ..Config::default()
    })
    .await
    .unwrap();
    let (dir, url) = (TempDir::new().unwrap(), server.url());
    let router = Router::start(&write(&dir, &url, 1.0, "old", ""));
    assert_eq!(cost(&router, "old").await, 4_000);

    // By a signal. The file has changed as well, but a signal does not wait.
    write(&dir, &url, 2.0, "new", "[routing]\nattempts = 2");
    router.hang_up();
    let told = router.says("configuration reloaded");
    assert!(told.contains("price, access.admin_key"), "{told}");
    let told = router.says("needs a restart");
    assert!(told.contains("routing"), "{told}");
    assert_eq!(cost(&router, "new").await, 8_000);
    let refused = router
        .call(http::Method::GET, "/admin/keys", "old", Value::Null)
        .await;
    assert_eq!(refused.0, 401);

    // What is wrong changes nothing, not even what is right beside it.
    write(&dir, &url, 3.0, "newest", "[routing]\nattempts = 0");
    router.hang_up();
    let told = router.says("routing.attempts");
    assert!(told.contains("must be at least 1"), "{told}");
    router.says("configuration not reloaded");
    assert_eq!(cost(&router, "new").await, 8_000);

    // Without a signal, too.
    write(&dir, &url, 5.0, "new", "");
    router.says("configuration reloaded");
    assert_eq!(cost(&router, "new").await, 20_000);

    // Without a file everything has a default, and nobody would need the admin key any more; nor with
    // one that a full disk has emptied.
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "").unwrap();
    router.hang_up();
    router.says("the file is gone or empty");
    std::fs::remove_file(&file).unwrap();
    router.hang_up();
    router.says("the file is gone or empty");
    let refused = router
        .call(http::Method::GET, "/admin/keys", "", Value::Null)
        .await;
    assert_eq!(refused.0, 401);
    assert_eq!(cost(&router, "new").await, 20_000);
    drop(router);
    server.stop().await;
}
