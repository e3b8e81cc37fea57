//! A pull from another registry: its rules, against one that is written here line by line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use herdsman_simulator::{Config, Simulator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::start;
use super::wire::post;

/// How the registry answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A blob is at another host name.
    Redirects,
    /// A blob is where it was asked for.
    Gives,
    /// As the first, with other bytes.
    Lies,
    /// As the first, and every second answer breaks off halfway.
    Breaks,
}

struct Registry {
    kind: Kind,
    port: u16,
    blob: Vec<u8>,
    parts: AtomicUsize,
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Registry {
    async fn start(kind: Kind) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Arc::new(Self {
            kind,
            port: listener.local_addr().unwrap().port(),
            blob: (0..100_000_u32).map(|n| (n % 251) as u8).collect(),
            parts: AtomicUsize::new(0),
        });
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let registry = serving.clone();
                tokio::spawn(async move { registry.serve(stream).await });
            }
        });
        registry
    }

    /// One request; the connection ends with it.
    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap() == 0 {
                return;
            }
        }
        let answer = self.answer(&head.to_ascii_lowercase());
        stream.write_all(&answer).await.unwrap();
    }

    fn answer(&self, head: &str) -> Vec<u8> {
        let manifest = json!({
            "config": {"digest": digest(&self.blob), "size": self.blob.len()},
            "layers": [],
        });
        if head.contains("/manifests/") {
            assert!(head.contains("/v2/library/big/manifests/7b"), "{head}");
            return answer("200 OK", "", manifest.to_string().as_bytes());
        }
        let elsewhere = head.contains("host: 127.0.0.1");
        if self.kind != Kind::Gives && !elsewhere {
            let path = head.split(' ').nth(1).unwrap();
            let to = format!("location: http://127.0.0.1:{}{path}\r\n", self.port);
            return answer("307 Temporary Redirect", &to, b"");
        }
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("range: bytes="));
        let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
            return answer("200 OK", "", &self.blob);
        };
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        let mut part = self.blob[from..=to].to_vec();
        if self.kind == Kind::Lies {
            part[0] ^= 1;
        }
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let mut whole = answer("206 Partial Content", "", &part);
        if self.kind == Kind::Breaks && number.is_multiple_of(2) {
            whole.truncate(whole.len() - part.len() / 2);
        }
        whole
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

async fn pulled(kind: Kind) -> (Simulator, Arc<Registry>, Vec<Value>) {
    let registry = Registry::start(kind).await;
    let server = start(Config {
        pull_part_bytes: 30_000,
        time_scale: 0.001,
        ..Config::default()
    })
    .await;
    let model = format!("localhost:{}/library/big:7b", registry.port);
    let body = json!({"model": model, "insecure": true});
    let lines = post(server.addr(), "/api/pull", body).await.lines();
    (server, registry, lines)
}

#[tokio::test]
async fn a_blob_is_fetched_in_parts_from_another_host_name() {
    for (kind, parts) in [(Kind::Redirects, 4), (Kind::Breaks, 8)] {
        let (server, registry, lines) = pulled(kind).await;
        assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
        let asked = registry.parts.load(Ordering::Relaxed);
        assert!(asked >= 4 && asked <= parts, "{asked}");
        let tags = super::wire::call(server.addr(), "GET", "/api/tags", "").await;
        let name = format!("localhost:{}/library/big:7b", registry.port);
        let models = tags.json()["models"].as_array().unwrap().clone();
        assert!(
            models.iter().any(|model| model["name"] == name),
            "{models:?}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_breaks_the_rules_is_an_error() {
    for (kind, words) in [
        (Kind::Gives, "unexpected status code 200"),
        (Kind::Lies, "digest mismatch, file must be downloaded again"),
    ] {
        let (_server, _registry, lines) = pulled(kind).await;
        let error = lines.last().unwrap()["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{lines:?}");
    }
}
