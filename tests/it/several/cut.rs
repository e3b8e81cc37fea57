//! A router that is cut off: from the database, from Redis, from both, which is from all other routers.
//!
//! It serves on with what it knew last. What changed meanwhile it knows soon after it is back, and everything is counted once.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::clients::{Clients, Retries};
use super::namespaces::{Cable, Namespace, SERVERS, enters};
use super::{ADMIN_KEY, Agent, DATABASE, Herd, Router, Simulated, comes_true, measured, shared};

/// For longer than any registration holds.
const LONG: Duration = Duration::from_secs(13);
/// For longer than usage waits for Redis before it goes to the database directly.
const SHORT: Duration = Duration::from_secs(6);
/// So soon a router that is back knows what operators have changed: it reads that every second, and may find out first that
/// its connections are dead.
const KNOWN: Duration = Duration::from_secs(6);
/// And so soon who has left: whoever could not renew has twelve seconds to do it.
const LEFT: Duration = Duration::from_secs(12 + 3);

/// Two routers, each in its namespace, of which the first is cut off.
struct Apart {
    herd: Herd,
    spaces: [Namespace; 2],
    servers: [Simulated; 3],
}

fn phase(said: &Value, server: &str) -> Option<String> {
    let mut all = said["endpoints"].as_array()?.iter();
    let found = all.find(|found| found["name"] == server)?;
    Some(found["phase"].as_str()?.to_owned())
}

impl Apart {
    async fn start() -> Self {
        let mut herd = Herd::new().await;
        let spaces = [Namespace::new(1).await, Namespace::new(2).await];
        for (n, space) in spaces.iter().enumerate() {
            let store = space.leads_to(Cable::Database, herd.database.port()).await;
            let redis = space.leads_to(Cable::Redis, herd.redis.port()).await;
            let url = herd.database.url_through(store.port(), DATABASE);
            let url = url.replace("127.0.0.1", &store.ip().to_string());
            let lines = shared(&url, &format!("redis://{redis}"));
            let nobody = "[[endpoint]]\nurl = \"http://127.0.0.1:1\"\nname = \"nobody\"\n";
            let mut router = Router::at(space.listens(), &herd.folder_of(n), &(lines + nobody));
            router.is_run_by(space.runs(env!("CARGO_BIN_EXE_herdsman")));
            herd.routers.push(router);
        }
        herd.start().await;
        let arguments = [
            "--load",
            "10ms",
            "--predict",
            "16",
            "--decode-interval",
            "5ms",
            "--parallel",
            "32",
        ];
        Self {
            herd,
            spaces,
            servers: [(); 3].map(|()| Simulated::start(&arguments)),
        }
    }

    fn agent(&self, n: usize) -> Agent {
        let server = &self.servers[n];
        let (name, url) = (format!("gpu-{n}"), server.url_at(SERVERS));
        Agent::advertising(&name, &url, server, &self.herd.urls(), self.herd.folder())
    }

    /// Whether this router's view has the server in one of these phases.
    async fn shows(&self, router: usize, server: &str, phases: &[Option<&str>]) -> bool {
        let url = format!("{}/admin/endpoints", self.herd.routers[router].url());
        let said = self.herd.http.get(&url).await.unwrap_or_default();
        phases.contains(&phase(&said, server).as_deref())
    }

    async fn becomes(&self, router: usize, server: &str, phases: &[Option<&str>]) -> Duration {
        let began = Instant::now();
        let what = format!("{server} is {phases:?} for router {router}");
        comes_true(&what, async || self.shows(router, server, phases).await).await;
        began.elapsed()
    }

    async fn registry_is(&self, router: usize, available: bool) -> Duration {
        let began = Instant::now();
        let url = format!("{}/admin/cluster", self.herd.routers[router].url());
        comes_true(&format!("the database is there: {available}"), async || {
            let said = self.herd.http.get(&url).await.unwrap_or_default();
            said["registry"]["available"] == available
        })
        .await;
        began.elapsed()
    }

    async fn circuit_is(&self, router: usize, state: &str) -> Duration {
        let began = Instant::now();
        let url = format!("{}/admin/redis", self.herd.routers[router].url());
        comes_true(&format!("the circuit is {state}"), async || {
            let said = self.herd.http.get(&url).await.unwrap_or_default();
            said["databases"][0]["circuit"] == state
        })
        .await;
        began.elapsed()
    }

    /// Until this moment all clients are served by both, and nobody's server leaves.
    async fn serve_on(&self, clients: &Clients, servers: &[&str], until: Instant) {
        while Instant::now() < until {
            for router in 0..2 {
                for server in servers {
                    assert!(
                        self.shows(router, server, &[Some("up")]).await,
                        "{server} has left router {router}"
                    );
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        clients.are_served().await;
    }

    async fn without_database(&self, clients: &Clients) {
        clients.phase("cut off from the database");
        self.spaces[0].cut(Cable::Database);
        let until = Instant::now() + LONG;
        measured(
            "no database: the router says so",
            self.registry_is(0, false).await,
        );
        let added = json!({"name": "added", "url": self.servers[2].url_at(SERVERS)});
        let url = format!("{}/admin/endpoints", self.herd.routers[1].url());
        let (status, made) = self.herd.http.post(&url, ADMIN_KEY, &added).await;
        assert_eq!(status, 201, "{made}");
        let key = self.herd.blocked_key(1).await;
        self.serve_on(clients, &["gpu-0", "gpu-1"], until).await;
        assert!(self.shows(0, "added", &[None]).await, "nobody has told it");

        self.spaces[0].mend(Cable::Database);
        let back = [
            ("it reads it again", self.registry_is(0, true).await),
            (
                "  and uses what was added",
                self.becomes(0, "added", &[Some("up")]).await,
            ),
            ("  and knows the keys", self.herd.refuses(0, &key).await),
        ];
        for (what, took) in back {
            measured(what, took);
            assert!(took < KNOWN, "{what}: {took:?}");
        }
    }

    async fn without_redis(&self, clients: &Clients) {
        clients.phase("cut off from Redis");
        self.spaces[0].cut(Cable::Redis);
        let until = Instant::now() + SHORT;
        measured(
            "no Redis: the router knows",
            self.circuit_is(0, "open").await,
        );
        self.serve_on(clients, &["gpu-0", "gpu-1", "added"], until)
            .await;
        self.spaces[0].mend(Cable::Redis);
        measured("  it is used again", self.circuit_is(0, "closed").await);
    }

    /// Meanwhile an agent dies: the others know that it does, and this one cannot.
    async fn alone(&self, clients: &Clients, mut agent: Agent) {
        clients.phase("cut off from everybody");
        self.spaces[0].cut(Cable::Database);
        self.spaces[0].cut(Cable::Redis);
        let until = Instant::now() + LONG;
        self.registry_is(0, false).await;
        agent.kill();
        let gone = [None, Some("draining")];
        measured(
            "an agent killed: the other router knows",
            self.becomes(1, "gpu-1", &gone).await,
        );
        let key = self.herd.blocked_key(1).await;
        self.serve_on(clients, &["gpu-0", "added"], until).await;
        assert!(
            self.shows(0, "gpu-1", &[Some("up")]).await,
            "its last view is what it has"
        );

        self.spaces[0].mend(Cable::Database);
        self.spaces[0].mend(Cable::Redis);
        let known = self.herd.refuses(0, &key).await;
        measured("  it knows the keys again", known);
        assert!(known < KNOWN, "{known:?}");
        let known = self.becomes(0, "gpu-1", &gone).await;
        measured("  and who has left", known);
        assert!(known < LEFT, "{known:?}");
    }
}

#[test]
fn a_router_that_is_cut_off_serves_on_and_knows_everything_soon_after_it_is_back() {
    let name = "several::cut::a_router_that_is_cut_off_serves_on_and_knows_everything_soon_after_it_is_back";
    if !enters(name) {
        return;
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let apart = Apart::start().await;
        let agents = [apart.agent(0), apart.agent(1)];
        for router in 0..2 {
            for server in ["gpu-0", "gpu-1"] {
                apart.becomes(router, server, &[Some("up")]).await;
            }
        }
        let clients = Clients::start(24, &apart.herd.urls(), Retries::Unconnected);
        clients.are_served().await;

        apart.without_database(&clients).await;
        apart.without_redis(&clients).await;
        let [kept, killed] = agents;
        apart.alone(&clients, killed).await;

        clients.are_served().await;
        let seen = clients.stop().await;
        assert!(seen.missed.is_empty(), "{:#?}", seen.missed);
        for (phase, longest) in &seen.longest {
            measured(&format!("longest wait: {phase}"), *longest);
        }
        apart.herd.must_have_counted(&seen).await;
        drop(kept);
    });
}
