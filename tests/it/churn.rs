//! Servers are added, changed and removed while clients are served.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use herdsman::backend::Backend;
use herdsman::fleet::{Applied, Desired, Drain, Endpoint, Settings, Shown, Spec};
use herdsman::upstream::Target;
use herdsman_simulator::{Model, Simulator};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Footprint, Plan, TEST_TIMEOUT, TestRouter, eventually};

const CHANGES: usize = 1_000;
const CLIENTS: u64 = 64;
/// Names of servers that are added and removed beside the one that stays.
const NAMES: usize = 9;

fn spec(name: &str, server: &Simulator, backend: Backend, random: &mut fastrand::Rng) -> Spec {
    let key = if random.bool() { "one" } else { "another" };
    let base = server.url().parse().unwrap();
    Spec {
        name: name.into(),
        url: server.url().into(),
        settings: Settings {
            target: Arc::new(Target::new(&base, key).unwrap()),
            backend,
            weight: f64::from(random.u32(1..10)),
            priority: random.i32(0..3),
            slots: random.u32(1..6),
            labels: Arc::default(),
            drain: Drain::Nothing,
            cloud: false,
        },
    }
}

/// `gpu-0` is always there, with other settings and on one of two machines; the others are anywhere,
/// of any kind, or nowhere.
fn any_fleet(servers: &[Simulator], random: &mut fastrand::Rng) -> Desired {
    let anywhere = &servers[random.usize(..2)];
    let mut specs = vec![spec("gpu-0", anywhere, Backend::Ollama, random)];
    for i in 1..=NAMES {
        if random.u8(..) < 160 {
            let server = &servers[random.usize(..servers.len())];
            let backend = match random.u8(..) {
                0..180 => Backend::Ollama,
                _ => Backend::openai(&[]),
            };
            specs.push(spec(&format!("gpu-{i}"), server, backend, random));
        }
    }
    Desired::new(specs).unwrap()
}

fn named(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

/// Sends requests of every kind until `stop`.
pub async fn client(router: &TestRouter, seed: u64, stop: &AtomicBool, answered: &AtomicU64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !stop.load(Ordering::Relaxed) {
        let streamed = random.bool();
        let messages = json!([{"role": "user", "content": "x"}]);
        let body = json!({"model": "llama3.2", "stream": streamed, "messages": messages});
        let path = ["/api/chat", "/v1/chat/completions"][random.usize(..2)];
        let answer = router.post(path, &body).await;
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        assert!(!answer.broken, "{text}");
        let end = match (path, streamed) {
            ("/api/chat", _) => r#""done":true"#,
            (_, true) => "[DONE]",
            (_, false) => r#""usage":{"#,
        };
        assert!(text.contains(end) && !text.contains(r#""error""#), "{text}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_of_the_fleet_fail_no_request_and_leave_nothing() {
    Plan::servers(1).start().await.finish().await;
    let before = Footprint::now();
    let router = Plan::servers(4)
        .each(|server| {
            server.parallel = 512;
            server.max_queue = 4096;
            server.default_predict = 6;
            server.decode_interval = Duration::from_millis(1);
        })
        .start()
        .await;
    let fleet = router.app.fleet().clone();
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut seen: HashMap<u64, Weak<Endpoint>> = HashMap::new();
    let clients = join_all((0..CLIENTS).map(|seed| client(&router, seed, &stop, &answered)));
    let changes = async {
        let mut random = fastrand::Rng::with_seed(11);
        for change in 0..CHANGES {
            fleet.apply(&any_fleet(&router.servers, &mut random)).await;
            for server in &fleet.view().servers {
                let id = server.endpoint.id().generation;
                seen.insert(id, Arc::downgrade(&server.endpoint));
            }
            match change % 100 {
                50 => fleet.kill_registry(),
                75 => fleet.view().servers[0].endpoint.kill_actor(),
                _ => {}
            }
            // Between two changes some requests have to end on what the first one left.
            let enough = answered.load(Ordering::Relaxed) + 4;
            eventually("requests are answered between two changes", || {
                answered.load(Ordering::Relaxed) >= enough
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(clients, changes);
    assert!(seen.len() > CHANGES, "servers were made: {}", seen.len());

    let mut random = fastrand::Rng::with_seed(1);
    let last = spec("gpu-0", &router.servers[0], Backend::Ollama, &mut random);
    fleet.apply(&Desired::new(vec![last]).unwrap()).await;
    eventually("all that were removed are gone", || {
        fleet.view().servers.len() == 1
    })
    .await;
    let alive = || seen.values().filter(|seen| seen.strong_count() > 0).count();
    eventually("nothing references a removed server", || alive() <= 1).await;
    eventually("no metric of a removed server is left", || {
        fleet.queue_lengths().len() <= 1
    })
    .await;
    let mut metrics = router.get("/metrics").await.text().to_owned();
    let is_named = |metrics: &str| (1..=NAMES).any(|i| metrics.contains(&format!("\"gpu-{i}\"")));
    let deadline = Instant::now() + TEST_TIMEOUT;
    while is_named(&metrics) {
        assert!(Instant::now() < deadline, "{metrics}");
        metrics = router.get("/metrics").await.text().to_owned();
    }
    assert!(metrics.contains("endpoint=\"gpu-0\""), "{metrics}");
    drop(fleet);
    router.finish().await;
    before.is_restored().await;
}

#[tokio::test]
async fn a_server_that_is_removed_finishes_its_streams_and_takes_nothing_new() {
    let router = Plan::servers(2)
        .each(|server| {
            server.default_predict = 40;
            server.decode_interval = Duration::from_millis(10);
        })
        .start()
        .await;
    let fleet = router.app.fleet().clone();
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let mut stream = router.stream("/api/chat", &body).await;
    stream.piece().await.unwrap();
    let leaving = stream.headers["x-herdsman-endpoint"]
        .to_str()
        .unwrap()
        .to_owned();
    let (staying, server) = match &*leaving {
        "gpu-0" => ("gpu-1", &router.servers[1]),
        _ => ("gpu-0", &router.servers[0]),
    };
    let mut random = fastrand::Rng::with_seed(1);
    let only = spec(staying, server, Backend::Ollama, &mut random);
    let applied = fleet.apply(&Desired::new(vec![only]).unwrap()).await;
    assert_eq!(named(&applied.removed), [leaving.as_str()]);

    let draining = || {
        fleet
            .observed()
            .into_iter()
            .find(|server| *server.id.name == *leaving)
    };
    let observed = draining().unwrap();
    assert_eq!((observed.phase, observed.in_flight), (Shown::Draining, 1));
    assert_eq!(
        (observed.held[0].in_flight, observed.held[0].waiting),
        (1, 0)
    );
    let health = router.get("/health").await.json();
    assert_eq!(health["endpoints"][&leaving]["status"], "draining");
    for _ in 0..8 {
        let answer = router.post("/api/chat", &body).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), staying);
    }
    let answer = stream.whole().await;
    assert!(answer.text().contains("\"done\":true"), "{}", answer.text());
    eventually("the server is gone with its last stream", || {
        draining().is_none()
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn settings_change_under_a_running_stream() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 40;
            server.decode_interval = Duration::from_millis(10);
        })
        .set("routing.slots=1")
        .set("routing.queue_timeout=100ms")
        .start()
        .await;
    let fleet = router.app.fleet().clone();
    let generation = fleet.view().servers[0].endpoint.id().generation;
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let mut stream = router.stream("/api/chat", &body).await;
    stream.piece().await.unwrap();
    assert_eq!(
        router.post("/api/chat", &body).await.status,
        503,
        "one slot"
    );

    let mut random = fastrand::Rng::with_seed(1);
    let mut wanted = spec("gpu-0", &router.servers[0], Backend::Ollama, &mut random);
    wanted.settings.slots = 2;
    let desired = Desired::new(vec![wanted]).unwrap();
    let applied = fleet.apply(&desired).await;
    assert_eq!(named(&applied.changed), ["gpu-0"]);
    assert_eq!(
        fleet.apply(&desired).await,
        Applied::default(),
        "nothing new"
    );
    assert_eq!(
        router.post("/api/chat", &body).await.status,
        200,
        "two slots"
    );
    let answer = stream.whole().await;
    assert!(answer.text().contains("\"done\":true"), "{}", answer.text());
    assert_eq!(fleet.view().servers[0].endpoint.id().generation, generation);
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_is_wanted_again_while_it_drains_goes_on_as_it_was() {
    let router = Plan::servers(1)
        .each(|server| {
            server.default_predict = 200;
            server.decode_interval = Duration::from_millis(10);
        })
        .start()
        .await;
    let fleet = router.app.fleet().clone();
    let generation = fleet.view().servers[0].endpoint.id().generation;
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let mut stream = router.stream("/api/chat", &body).await;
    stream.piece().await.unwrap();
    fleet.apply(&Desired::default()).await;
    assert_eq!(router.get("/api/tags").await.json()["models"], json!([]));
    assert_eq!(router.post("/api/chat", &body).await.status, 502);
    let mut random = fastrand::Rng::with_seed(1);
    let again = spec("gpu-0", &router.servers[0], Backend::Ollama, &mut random);
    fleet.apply(&Desired::new(vec![again]).unwrap()).await;
    let short = json!({"model": "llama3.2", "prompt": "x", "options": {"num_predict": 1}});
    assert_eq!(router.post("/api/generate", &short).await.status, 200);
    assert_eq!(fleet.view().servers[0].endpoint.id().generation, generation);
    assert_eq!(
        fleet.observed()[0].in_flight,
        1,
        "the first stream still holds its slot"
    );
    stream.whole().await;
    router.finish().await;
}

#[tokio::test]
async fn the_same_name_with_another_address_is_another_server() {
    let router = Plan::servers(2)
        .server(0, |server| server.models = vec![Model::named("old")])
        .server(1, |server| server.models = vec![Model::named("new")])
        .start()
        .await;
    let fleet = router.app.fleet().clone();
    let mut random = fastrand::Rng::with_seed(1);
    let moved = spec("gpu-0", &router.servers[1], Backend::Ollama, &mut random);
    let applied = fleet.apply(&Desired::new(vec![moved]).unwrap()).await;
    assert_eq!(named(&applied.added), ["gpu-0"]);
    assert_eq!(named(&applied.removed), ["gpu-0", "gpu-1"]);
    eventually("the new server is the only one", || {
        let observed = fleet.observed();
        observed.len() == 1 && observed[0].models.is_some()
    })
    .await;
    let tags = router.get("/api/tags").await.json();
    assert_eq!(tags["models"][0]["name"], "new:latest");
    assert_eq!(tags["models"].as_array().unwrap().len(), 1);
    router.finish().await;
}
