//! A real llama-server on a free port, with a tiny model of random weights.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use herdsman::config::{self, EndpointUrl, Kind};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

use herdsman_test_support::clients::llama_cpp;

use crate::support::TEST_TIMEOUT;

/// Half a megabyte, which answers at once.
pub const TINY: &[&str] = &[];
/// 135 MB, of which a token takes some ten milliseconds.
pub const SLOW: &[&str] = &["0", "512", "8"];

pub struct LlamaServer {
    child: Child,
    url: String,
    _dir: TempDir,
}

impl LlamaServer {
    /// Returns when it serves. `model` is its shape, `more` further arguments.
    pub async fn start(model: &[&str], more: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("tiny.gguf");
        write(&file, model).await;
        let port = free_port();
        let child = Command::new(llama_cpp("bin/llama-server"))
            .arg("-m")
            .arg(&file)
            .args(["--alias", "tiny", "--port", &port.to_string()])
            .args(["--ctx-size", "2048", "--parallel", "2", "--threads", "1"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let server = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            _dir: dir,
        };
        server.is_ready().await;
        server
    }

    async fn is_ready(&self) {
        let deadline = Instant::now() + TEST_TIMEOUT;
        let health = format!("{}/health", self.url);
        while get(&health)
            .await
            .is_none_or(|health| health["status"] != "ok")
        {
            assert!(Instant::now() < deadline, "llama-server does not come up");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The server as the configuration names it.
    pub fn endpoint(&self, name: &str) -> config::Endpoint {
        let url: EndpointUrl = self.url.parse().unwrap();
        let mut endpoint = config::Endpoint::at(url);
        endpoint.name = name.to_owned();
        endpoint.kind = Kind::OpenAi;
        endpoint
    }

    /// How many of its slots compute, by its own word; nothing while it does not answer.
    pub async fn slots(&self) -> Option<usize> {
        let slots = get(&format!("{}/slots", self.url)).await?;
        let slots = slots.as_array()?;
        Some(
            slots
                .iter()
                .filter(|slot| slot["is_processing"] == true)
                .count(),
        )
    }

    /// As `kill -9` does.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn get(url: &str) -> Option<serde_json::Value> {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let answer = client.get(url.parse().unwrap()).await.ok()?;
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

/// Several tests start at once; each has a file of its own.
async fn write(file: &Path, shape: &[&str]) {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny_gguf.py");
    let mut shape = shape.to_vec();
    if shape.is_empty() {
        shape.push("0");
    }
    let written = Command::new(llama_cpp("bin/python"))
        .arg(script)
        .arg(file)
        .args(shape)
        .output()
        .await
        .unwrap();
    let complaint = String::from_utf8_lossy(&written.stderr);
    assert!(written.status.success(), "{complaint}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
