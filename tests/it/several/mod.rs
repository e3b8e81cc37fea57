//! Several routers, their servers and all that they share, each as a process of its own, under load.
//!
//! Nothing here looks into a router. What clients saw is compared with what the database has counted, and how
//! long anything took is read from what operators can ask for.

mod clients;
mod clock;
mod counted;
mod cut;
mod http;
mod killed;
mod namespaces;
mod processes;
mod rolling;

use std::path::{Path, PathBuf};
use std::time::Duration;

use herdsman_test_support::redis::Server as Redis;
use herdsman_test_support::sql::{Flavor, Server as Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::TEST_TIMEOUT;
use http::Http;
pub use processes::Simulated;
use processes::{Agent, Router};

const DATABASE: &str = "herd";
/// What the routers want to be shown by operators, and by agents.
const ADMIN_KEY: &str = "of-operators";
const JOIN_KEY: &str = "of-agents";

/// What all of them share, and the routers.
struct Herd {
    routers: Vec<Router>,
    database: Database,
    redis: Redis,
    http: Http,
    dir: TempDir,
}

impl Herd {
    /// The database and Redis, without routers.
    async fn new() -> Self {
        let database = tokio::task::spawn_blocking(|| {
            let server = Database::start(Flavor::Postgres);
            server.create(DATABASE);
            server
        });
        Self {
            routers: Vec::new(),
            database: database.await.unwrap(),
            redis: Redis::start().await,
            http: Http::new(),
            dir: TempDir::new().unwrap(),
        }
    }

    /// And so many routers, which are not started yet; these lines are in `[server]`, and these other tables.
    fn with_routers(mut self, number: usize, server: &str, tables: &str) -> Self {
        let shared = shared(&self.database.url(DATABASE), &self.redis.url());
        let lines = format!("{server}{shared}{tables}");
        let router = |n| Router::new(&self.folder_of(n), &lines);
        self.routers = (0..number).map(router).collect();
        self
    }

    fn folder_of(&self, router: usize) -> PathBuf {
        self.dir.path().join(format!("router-{router}"))
    }

    async fn start(&mut self) {
        for router in &mut self.routers {
            router.start();
        }
        for router in &self.routers {
            router.is_ready(&self.http).await;
        }
    }

    fn urls(&self) -> Vec<String> {
        self.routers.iter().map(Router::url).collect()
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// How long it takes until every router says something of which this holds.
    async fn all_say(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        let began = Instant::now();
        for router in &self.routers {
            let ask = async || {
                let said = self.http.get(&format!("{}{path}", router.url())).await;
                said.is_some_and(|said| holds(&said))
            };
            comes_true(what, ask).await;
        }
        began.elapsed()
    }

    /// A key that may do nothing, made through this router.
    async fn blocked_key(&self, router: usize) -> String {
        let url = format!("{}/admin/keys", self.routers[router].url());
        let body = json!({"blocked": true});
        let (status, made) = self.http.post(&url, ADMIN_KEY, &body).await;
        assert_eq!(status, 201, "{made}");
        made["key"].as_str().unwrap().to_owned()
    }

    /// How long it takes until a router knows of it: where no key is required, one that is not known is none.
    async fn refuses(&self, router: usize, key: &str) -> Duration {
        let began = Instant::now();
        let url = format!("{}/api/chat", self.routers[router].url());
        let chat = json!({"model": "llama3.2", "messages": []});
        comes_true("it refuses the key", async || {
            self.http.post(&url, key, &chat).await.0 == 401
        })
        .await;
        began.elapsed()
    }

    /// Everything that was counted is in the database.
    async fn is_settled(&self) {
        for router in &self.routers {
            let pending = async || {
                let metrics = format!("{}/metrics", router.url());
                let text = self.http.text(&metrics).await.unwrap_or_default();
                text.lines()
                    .any(|line| line == "herdsman_spend_records_pending_total 0")
            };
            comes_true("everything is in the database", pending).await;
        }
    }
}

/// Where a router finds what it shares with the others.
fn shared(store: &str, redis: &str) -> String {
    format!("[store]\nurl = \"{store}\"\n[redis]\n[[redis.database]]\nurl = \"{redis}\"\n")
}

/// Waits until `holds`.
async fn comes_true(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + 2 * TEST_TIMEOUT;
    while !holds().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Numbers for people: `cargo nextest run --no-capture` shows them.
#[expect(clippy::print_stderr, reason = "what was measured is shown")]
fn measured(what: &str, took: Duration) {
    eprintln!("{what:<60} {:>8.3} s", took.as_secs_f64());
}
