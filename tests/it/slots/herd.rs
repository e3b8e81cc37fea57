//! Routers in front of the same servers.

use std::sync::Arc;
use std::time::Duration;

use herdsman_simulator::{Config, Model, Simulator};
use herdsman_test_support::redis;
use herdsman_test_support::sql::{Flavor, Server};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Plan, TestRouter, eventually};

/// Servers that take whatever comes, so that their own count shows how much that is.
const MANY: usize = 64;

struct Herd {
    servers: Vec<Simulator>,
    routers: Vec<Arc<TestRouter>>,
    redis: redis::Server,
    _database: Server,
}

impl Herd {
    async fn start(routers: usize, servers: usize, slots: u32, sharing: &str) -> Self {
        let database = tokio::task::spawn_blocking(|| {
            let server = Server::start(Flavor::Postgres);
            server.create("herd");
            server
        });
        let database = database.await.unwrap();
        let redis = redis::Server::start().await;
        let mut herd = Self {
            servers: Vec::new(),
            routers: Vec::new(),
            redis,
            _database: database,
        };
        for at in 0..servers {
            let config = Config {
                node: format!("gpu-{at}"),
                models: vec![Model::named("llama3.2")],
                parallel: MANY,
                default_predict: 4,
                ..Config::default()
            };
            herd.servers.push(Simulator::start(config).await.unwrap());
        }
        for _ in 0..routers {
            herd.join(slots, sharing).await;
        }
        let all = i64::try_from(routers).unwrap();
        eventually("all routers have their part", || {
            let mut routers = herd.routers.iter();
            routers.all(|router| router.app.fleet().slots_divided() == all)
        })
        .await;
        herd
    }

    async fn join(&mut self, slots: u32, sharing: &str) {
        let mut plan = Plan::servers(0)
            .redis([&*self.redis.url()])
            .set(&format!("store.url={}", self._database.url("herd")))
            .set(&format!("routing.slots={slots}"))
            .set(&format!("cluster.slots={sharing}"));
        for (at, server) in self.servers.iter().enumerate() {
            let mut endpoint = herdsman::config::Endpoint::at(server.url().parse().unwrap());
            endpoint.name = format!("gpu-{at}");
            plan = plan.and(endpoint);
        }
        self.routers.push(Arc::new(plan.start().await));
    }

    /// So many clients of each router ask again and again.
    async fn load(&self, clients: &[usize], how_long: Duration) -> Vec<u64> {
        let until = Instant::now() + how_long;
        let mut tasks = JoinSet::new();
        for (at, clients) in clients.iter().enumerate() {
            for _ in 0..*clients {
                let router = Arc::clone(&self.routers[at]);
                tasks.spawn(async move {
                    let mut answered = 0;
                    while Instant::now() < until {
                        let chat = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
                        let answer = router.post("/api/chat", &chat).await;
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        answered += 1;
                    }
                    (at, answered)
                });
            }
        }
        let mut answered = vec![0; clients.len()];
        while let Some(ended) = tasks.join_next().await {
            let (at, number) = ended.unwrap();
            answered[at] += number;
        }
        answered
    }

    /// The most requests that were on one server at once.
    fn most(&self) -> usize {
        let servers = self.servers.iter();
        servers.map(|server| server.counters().max_concurrent).max().unwrap()
    }

    async fn finish(self) {
        for router in self.routers {
            let Ok(router) = Arc::try_unwrap(router) else {
                panic!("a client is left");
            };
            router.finish().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_routers_never_have_more_requests_on_a_server_than_it_has_slots() {
    let herd = Herd::start(3, 4, 2, "strict").await;
    let answered = herd.load(&[20, 20, 20], Duration::from_secs(6)).await;
    println!("answered {answered:?}, at most {} at once", herd.most());
    assert!(herd.most() <= 2, "{}", herd.most());
    assert!(answered.iter().all(|answered| *answered > 20), "{answered:?}");
    herd.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn safe_routers_have_at_most_one_request_each_beyond_the_slots() {
    let herd = Herd::start(3, 4, 2, "safe").await;
    let answered = herd.load(&[20, 20, 20], Duration::from_secs(6)).await;
    println!("answered {answered:?}, at most {} at once", herd.most());
    assert!(herd.most() <= 4, "{}", herd.most());
    herd.finish().await;
}
