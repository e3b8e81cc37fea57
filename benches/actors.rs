//! The cost of taking a slot and giving it back: the one mailbox on the path of a request.
//!
//! Against the actor of a real endpoint in front of a simulated server, once alone and once with many
//! tasks that take slots of the same server, and with more of them than slots, so that they queue.

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use herdsman::backend::Backend;
use herdsman::cluster::bus::Bus;
use herdsman::domain::ModelName;
use herdsman::fleet::{
    Desired, Drain, Fleet, Intervals, LeaseRequest, Outcome, Rules, Settings, Spec,
};
use herdsman::protocol::{Api, Instance};
use herdsman::upstream::{Client, Target};
use herdsman_simulator::{Config, Model, Simulator};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const ROUNDS: usize = 64;

fn main() {
    divan::main();
}

/// A fleet of one server that has its model loaded.
struct BenchFleet {
    runtime: Runtime,
    fleet: Fleet,
    model: ModelName,
    _server: Arc<Simulator>,
}

impl BenchFleet {
    fn with_slots(slots: u32) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (fleet, server) = runtime.block_on(async {
            let models = vec![Model::named("m")];
            let server = Simulator::start(Config {
                models,
                ..Config::default()
            })
            .await
            .expect("a server");
            let base = server.url().parse().expect("a URL");
            let spec = Spec {
                name: "gpu".into(),
                url: server.url().into(),
                settings: Settings {
                    target: Arc::new(Target::new(&base, "").expect("an address")),
                    backend: Backend::Ollama,
                    weight: 1.0,
                    priority: 0,
                    slots,
                    labels: Arc::default(),
                    drain: Drain::Nothing,
                    cloud: false,
                },
            };
            let desired = Desired::new(vec![spec]).expect("one name");
            let often = Duration::from_secs(3600);
            let intervals = Intervals {
                alive: often,
                loaded: often,
                models: often,
            };
            let rules = Rules {
                intervals,
                stale_after: often,
                queue_limit: 100_000,
                hidden: None,
                sharing: None,
                bus: Bus::default(),
                locks: None,
            };
            let client = Client::new(Duration::from_secs(1), Instance::new("here"));
            let fleet = Fleet::start(&desired, rules, client, TaskTracker::new()).await;
            let fleet = fleet.expect("a fleet");
            fleet.wait_until_complete(Duration::from_secs(5)).await;
            (fleet, Arc::new(server))
        });
        let model = ModelName::parse("m").expect("a name");
        let bench = Self {
            runtime,
            fleet,
            model,
            _server: server,
        };
        bench.runtime.block_on(async {
            // The first lease loads the model; from then on it is warm.
            let mut lease = bench
                .fleet
                .lease(&bench.request())
                .await
                .expect("a slot")
                .lease;
            lease.first_byte();
            lease.end(Outcome::Done);
        });
        bench
    }

    fn request(&self) -> LeaseRequest {
        LeaseRequest {
            model: self.model.clone(),
            api: Api::OllamaChat,
            arrival: self.fleet.arrive(),
            deadline: Instant::now() + Duration::from_secs(60),
            only: Vec::new(),
            within: Vec::new(),
            tried: Vec::new(),
        }
    }
}

/// One request alone: acquire and release.
#[divan::bench]
fn lease_and_release_alone(bencher: Bencher<'_, '_>) {
    let bench = BenchFleet::with_slots(4);
    bencher.bench_local(|| {
        bench.runtime.block_on(async {
            let leased = bench.fleet.lease(&bench.request()).await.expect("a slot");
            leased.lease.end(Outcome::Done);
        });
    });
}

/// Many tasks at once, each [`ROUNDS`] times; the figure is for one lease.
#[divan::bench(args = [(16, 1024), (64, 4)])]
fn lease_and_release_by_many(bencher: Bencher<'_, '_>, (tasks, slots): (usize, u32)) {
    let bench = BenchFleet::with_slots(slots);
    bencher
        .counter(divan::counter::ItemsCount::new(tasks * ROUNDS))
        .bench_local(|| {
            bench.runtime.block_on(async {
                let mut asking = JoinSet::new();
                for _ in 0..tasks {
                    let fleet = bench.fleet.clone();
                    let requests: Vec<_> = (0..ROUNDS).map(|_| bench.request()).collect();
                    asking.spawn(async move {
                        for request in requests {
                            let leased = fleet.lease(&request).await.expect("a slot");
                            tokio::task::yield_now().await;
                            leased.lease.end(Outcome::Done);
                        }
                    });
                }
                asking.join_all().await;
            });
        });
}
