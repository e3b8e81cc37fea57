//! Everything at once, and then nothing may be left over.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use herdsman::domain::ModelName;
use herdsman_simulator::{Fault, Model};
use serde_json::json;

use crate::support::{Footprint, Herd, Plan, eventually};

const REQUESTS: u64 = 2_000;
const CLIENTS: usize = 48;
const SLOTS: usize = 4;
const MODELS: [&str; 3] = ["llama3.2", "qwen3:8b", "phi4"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_of_aborts_faults_and_deaths_everything_is_as_it_was() {
    // A first, quiet fleet opens what a process opens once.
    Plan::servers(1).start().await.finish().await;
    let before = Footprint::now();
    let herd = Plan::servers(3)
        .each(|server| {
            server.models = MODELS.map(Model::named).to_vec();
            server.parallel = SLOTS;
            server.default_predict = 12;
            server.decode_interval = Duration::from_millis(1);
            server.load = Duration::from_millis(10);
        })
        .set("routing.slots=4")
        .set("routing.idle_timeout=500ms")
        .set("routing.first_byte_timeout=2s")
        .start()
        .await;
    for model in MODELS {
        herd.post("/api/generate", &json!({ "model": model })).await;
    }
    herd.at_rest().await;

    let mut dice = fastrand::Rng::with_seed(7);
    let requests: Vec<_> = (0..REQUESTS).map(|i| (i, dice.u64(..))).collect();
    iter(requests)
        .for_each_concurrent(CLIENTS, |(i, random)| request(&herd, i, random))
        .await;

    herd.servers
        .iter()
        .for_each(herdsman_simulator::Simulator::clear_faults);
    herd.at_rest().await;
    for server in &herd.servers {
        let counters = server.counters();
        for (model, counters) in &counters.models {
            assert!(counters.max_concurrent <= SLOTS, "{model}: {counters:?}");
        }
    }
    eventually("all servers are back", || {
        herd.app.fleet().view().up().count() == 3
    })
    .await;
    // It still serves, all of it.
    for model in MODELS {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
        for _ in 0..6 {
            let answer = herd.post("/api/chat", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let stats = herd.app.spend().stats().clone();
    herd.counted().await;
    assert_eq!(stats.pending(), 0);
    herd.finish().await;
    before.is_restored().await;
}

/// One of many ways to ask, with now and then a fault or a death beside it.
async fn request(herd: &Herd, i: u64, random: u64) {
    let server = &herd.servers[(random % 3) as usize];
    match i % 40 {
        3 => server.fault(Fault::Reset { after: 3 }.next(1)),
        7 => server.fault(Fault::InternalError.next(1)),
        11 => server.fault(Fault::CleanEnd { after: 2 }.next(1)),
        15 => server.fault(Fault::Stall { after: 2 }.next(1)),
        19 => server.fault(Fault::HalfLine { after: 2 }.next(1)),
        23 => server.fault(Fault::Busy.next(2)),
        27 => server.fault(Fault::ErrorLine { after: 1 }.next(1)),
        31 => herd.app.fleet().view().servers[(random % 3) as usize]
            .endpoint
            .kill_actor(),
        35 => herd
            .app
            .fleet()
            .kill_line(&ModelName::parse(MODELS[(random % 3) as usize]).unwrap()),
        39 if i % 400 == 39 => server.restart(Duration::from_millis(50)).await,
        _ if i % 500 == 250 => herd.app.fleet().kill_registry(),
        _ => {}
    }
    let model = MODELS[(random >> 8) as usize % 3];
    let body = json!({"model": model, "stream": random & 16 == 0, "messages": [{"role": "user", "content": "x"}]});
    let path = if random & 32 == 0 {
        "/api/chat"
    } else {
        "/v1/chat/completions"
    };
    match (random >> 16) % 4 {
        0 => {
            // Leaves at any moment, also before the first byte.
            let patience = Duration::from_micros((random >> 24) % 20_000);
            let _ = tokio::time::timeout(patience, herd.post(path, &body)).await;
        }
        1 => {
            let mut stream = herd.stream(path, &body).await;
            stream.piece().await;
        }
        _ => {
            let answer = herd.post(path, &body).await;
            let status = answer.status.as_u16();
            assert!(
                [200, 500, 502, 503, 504].contains(&status),
                "{status}: {}",
                answer.text()
            );
        }
    }
}
