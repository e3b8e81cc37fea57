//! The configuration, read again by a running program.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use herdsman_simulator::{Config, Model, Simulator};
use herdsman_test_support::Certificates;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::https;
use crate::support::TEST_TIMEOUT;

/// The real program, and its stderr, line by line.
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
        let listening = router.logs("listening");
        let line: Value = serde_json::from_str(&listening).unwrap();
        let address = line["fields"]["address"]
            .as_str()
            .or(line["address"].as_str());
        router.address = format!("http://{}", address.unwrap());
        router
    }

    /// The next line with this text.
    fn logs(&self, words: &str) -> String {
        loop {
            let line = self.log.recv_timeout(TEST_TIMEOUT);
            let line = line.unwrap_or_else(|_| panic!("never logged: {words}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
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

impl Router {
    /// A whole answer, as text.
    async fn ask(&self, path: &str, body: Value) -> (u16, String) {
        let request = http::Request::post(format!("{}{path}", self.address))
            .body(http_body_util::Full::new(bytes::Bytes::from(
                body.to_string(),
            )))
            .unwrap();
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Full<bytes::Bytes>>();
        let answer = client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await;
        let body = body.expect("a whole body").to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn new_clients_are_shown_a_certificate_that_has_changed() {
    let dir = TempDir::new().unwrap();
    let first = Certificates::make();
    let (pem, key) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let install = |certificates: &Certificates| {
        std::fs::copy(certificates.path("server.pem"), &pem).unwrap();
        std::fs::copy(certificates.path("server.key"), &key).unwrap();
    };
    install(&first);
    let config = dir.path().join("config.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}\"\ntls_cert = {pem:?}\ntls_key = {key:?}\n",
        dir.path().join("data").display()
    );
    std::fs::write(&config, text).unwrap();
    let router = Router::start(&config);
    let address = router.address.strip_prefix("http://").unwrap();
    let address = address.parse().unwrap();
    assert!(https::connect(address, &first).await.is_ok());

    // Half of it is no certificate, and the former one stays.
    let second = Certificates::make();
    std::fs::copy(second.path("server.pem"), &pem).unwrap();
    router.logs("the certificate stays as it was");
    assert!(https::connect(address, &first).await.is_ok());

    install(&second);
    router.logs("certificate read");
    assert!(https::connect(address, &second).await.is_ok());
    assert!(https::connect(address, &first).await.is_err());
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

/// `gpu-0` is always there; the others are added and removed, with other weights each time.
fn write_servers(dir: &TempDir, servers: &[Simulator], round: usize) {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n[fleet]\nprobe_interval = \"100ms\"\n",
        dir.path().join("data").display()
    );
    for (i, server) in servers.iter().enumerate() {
        if i == 0 || (round >> (i - 1)) & 1 == 0 {
            let weight = 1 + (round + i) % 5;
            let slots = 2 + round % 3;
            text += &format!(
                "[[endpoint]]\nname = \"gpu-{i}\"\nurl = \"{}\"\nweight = {weight}\nslots = {slots}\n",
                server.url()
            );
        }
    }
    std::fs::write(dir.path().join("config.toml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_the_file_are_added_and_removed_under_load_and_no_request_fails() {
    const ROUNDS: usize = 32;
    let mut servers = Vec::new();
    for _ in 0..5 {
        let server = Simulator::start(Config {
            models: vec![Model::named("llama3.2")],
            parallel: 64,
            decode_interval: Duration::from_millis(1),
            default_predict: 6,
            ..Config::default()
        });
        servers.push(server.await.unwrap());
    }
    let dir = TempDir::new().unwrap();
    write_servers(&dir, &servers, 0);
    let router = Router::start(&dir.path().join("config.toml"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let client = async |streamed: bool| {
        use std::sync::atomic::Ordering::Relaxed;
        while !stop.load(Relaxed) {
            let body = json!({"model": "llama3.2", "stream": streamed, "prompt": "hi"});
            let (status, text) = router.ask("/api/generate", body).await;
            assert_eq!(status, 200, "{text}");
            assert!(text.contains("\"done\":true"), "{text}");
            answered.fetch_add(1, Relaxed);
        }
    };
    let clients = futures_util::future::join_all((0..64).map(|i| client(i % 2 == 0)));
    let reloads = async {
        use std::sync::atomic::Ordering::Relaxed;
        for round in 1..=ROUNDS {
            write_servers(&dir, &servers, round);
            router.hang_up();
            tokio::task::block_in_place(|| router.logs("configuration reloaded"));
            let enough = answered.load(Relaxed) + 16;
            crate::support::eventually("requests are answered between two reloads", || {
                answered.load(Relaxed) >= enough
            })
            .await;
        }
        stop.store(true, Relaxed);
    };
    tokio::join!(clients, reloads);
    // The last round has all of them.
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    loop {
        let health = router
            .call(http::Method::GET, "/health", "", Value::Null)
            .await
            .1;
        let endpoints: Vec<_> = health["endpoints"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        if endpoints == ["gpu-0", "gpu-1", "gpu-2", "gpu-3", "gpu-4"] {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(router);
    for server in servers {
        server.stop().await;
    }
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
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
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
async fn a_running_router_applies_new_prices_and_keys_and_logs_what_needs_a_restart() {
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
    let alias = "[routing]\nattempts = 2\n[[alias]]\nname = \"gpt-4o\"\nmodels = [\"llama3.2\"]";
    write(&dir, &url, 2.0, "new", alias);
    let asked = json!({"model": "gpt-4o"});
    assert_eq!(router.ask("/api/show", asked.clone()).await.0, 404);
    router.hang_up();
    let told = router.logs("configuration reloaded");
    assert!(told.contains("alias, price, access.admin_key"), "{told}");
    assert_eq!(router.ask("/api/show", asked).await.0, 200);
    let told = router.logs("needs a restart");
    assert!(told.contains("routing"), "{told}");
    assert_eq!(cost(&router, "new").await, 8_000);
    let refused = router
        .call(http::Method::GET, "/admin/keys", "old", Value::Null)
        .await;
    assert_eq!(refused.0, 401);

    // What is wrong changes nothing, not even what is right beside it.
    write(&dir, &url, 3.0, "newest", "[routing]\nattempts = 0");
    router.hang_up();
    let told = router.logs("routing.attempts");
    assert!(told.contains("must be at least 1"), "{told}");
    router.logs("configuration not reloaded");
    assert_eq!(cost(&router, "new").await, 8_000);

    // Without a signal, too.
    write(&dir, &url, 5.0, "new", "");
    router.logs("configuration reloaded");
    assert_eq!(cost(&router, "new").await, 20_000);

    // Without a file everything has a default, and the admin key would not be needed any more; nor
    // with one that a full disk has emptied.
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "").unwrap();
    router.hang_up();
    router.logs("the file is gone or empty");
    std::fs::remove_file(&file).unwrap();
    router.hang_up();
    router.logs("the file is gone or empty");
    let refused = router
        .call(http::Method::GET, "/admin/keys", "", Value::Null)
        .await;
    assert_eq!(refused.0, 401);
    assert_eq!(cost(&router, "new").await, 20_000);
    drop(router);
    server.stop().await;
}

#[tokio::test]
async fn sigterm_announces_the_end_before_it_begins_and_ctrl_c_does_not() {
    let server = Simulator::start(Config::default()).await.unwrap();
    for (signal, waits) in [("-TERM", true), ("-INT", false)] {
        let dir = TempDir::new().unwrap();
        let path = write(&dir, &server.url(), 1.0, "", "");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("[server]\n", "[server]\nlead_in = \"1s\"\n");
        std::fs::write(&path, text).unwrap();
        let mut router = Router::start(&path);
        let began = tokio::time::Instant::now();
        router.signal(signal);
        if waits {
            router.logs("not ready any more");
            let (status, _) = router.ask("/health/ready", Value::Null).await;
            assert_eq!(status, 405, "it is asked with GET");
            let ready = router
                .call(http::Method::GET, "/health/ready", "x", Value::Null)
                .await;
            assert_eq!(ready.0, 503);
            let tags = router
                .call(http::Method::GET, "/api/tags", "x", Value::Null)
                .await;
            assert_eq!(tags.0, 200, "work is still taken");
        }
        router.logs("stopped");
        router.child.wait().unwrap();
        assert_eq!(began.elapsed() >= Duration::from_secs(1), waits, "{signal}");
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_listens_for_everybody_without_keys_is_told_so_at_the_end_of_the_start() {
    let server = Simulator::start(Config::default()).await.unwrap();
    let dir = TempDir::new().unwrap();
    let path = write(&dir, &server.url(), 1.0, "", "");
    let text = std::fs::read_to_string(&path).unwrap();
    let open = text.replace("127.0.0.1:0", "0.0.0.0:0");
    std::fs::write(&path, &open).unwrap();
    let check = |path: &Path| {
        let check = Command::new(env!("CARGO_BIN_EXE_herdsman"))
            .args(["check", "--config"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(check.stdout).unwrap()
    };
    assert!(check(&path).contains("# warning: OPEN TO EVERYBODY"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_herdsman"))
        .current_dir(dir.path())
        .env("HERDSMAN_LOG_FORMAT", "json")
        // Even of somebody who wants to see errors only.
        .env("HERDSMAN_LOG", "error")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("OPEN TO EVERYBODY"), "{line}");
    let closed = open.replace("[access]\n", "[access]\nrequire_key = true\n");
    std::fs::write(&path, closed).unwrap();
    assert!(!check(&path).contains("OPEN TO EVERYBODY"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_were_added_outlive_a_reload_and_drains_of_the_file_s_do_not() {
    let plain = || Config {
        models: vec![Model::named("llama3.2")],
        ..Config::default()
    };
    let (of_file, other) = (
        Simulator::start(plain()).await.unwrap(),
        Simulator::start(plain()).await.unwrap(),
    );
    let dir = TempDir::new().unwrap();
    let url = of_file.url();
    let router = Router::start(&write(&dir, &url, 1.0, "key", ""));
    let post = http::Method::POST;
    let body = json!({"name": "added", "url": other.url()});
    let added = router
        .call(post.clone(), "/admin/endpoints", "key", body)
        .await;
    assert_eq!(added.0, 201, "{added:?}");
    let of_file_name = url.strip_prefix("http://").unwrap();
    for name in [of_file_name, "added"] {
        let path = format!("/admin/endpoints/{name}/drain");
        let drained = router.call(post.clone(), &path, "key", json!({})).await;
        assert_eq!(drained.0, 200, "{drained:?}");
        router.logs("endpoint drained");
    }
    write(&dir, &url, 2.0, "key", "");
    router.hang_up();
    router.logs("configuration reloaded");
    let listed = router
        .call(http::Method::GET, "/admin/endpoints", "key", Value::Null)
        .await
        .1;
    let states: Vec<_> = listed["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| {
            let text = |key: &str| server[key].as_str().unwrap();
            [text("name"), text("source"), text("phase")]
        })
        .collect();
    assert_eq!(
        states,
        [
            [of_file_name, "config", "up"],
            ["added", "admin", "drained"]
        ]
    );
    drop(router);
    for server in [of_file, other] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_router_begins_another_access_log_when_it_is_told_to() {
    let server = Simulator::start(Config {
        models: vec![Model::named("llama3.2")],
        ..Config::default()
    })
    .await
    .unwrap();
    let dir = TempDir::new().unwrap();
    let (file, moved) = (dir.path().join("access.log"), dir.path().join("moved"));
    let log = format!("[log]\naccess = \"{}\"", file.display());
    let router = Router::start(&write(&dir, &server.url(), 1.0, "key", &log));
    let lines = |file: &Path| std::fs::read_to_string(file).map_or(0, |text| text.lines().count());
    let ask = async |before: &Path| {
        let wanted = lines(before) + 1;
        let body = json!({"model": "llama3.2", "prompt": "hi"});
        assert_eq!(router.ask("/api/generate", body).await.0, 200);
        crate::support::eventually("the request is in the log", || lines(before) == wanted).await;
    };
    ask(&file).await;
    std::fs::rename(&file, &moved).unwrap();
    ask(&moved).await;
    router.hang_up();
    router.logs("configuration reloaded");
    ask(&file).await;
    assert_eq!((lines(&moved), lines(&file)), (2, 1));
    drop(router);
    server.stop().await;
}
