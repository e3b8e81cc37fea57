//! Many faults at once, after which nothing may be left over.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use herdsman::domain::ModelName;
use herdsman_simulator::{Fault, Model};
use serde_json::json;

use crate::support::{Footprint, Plan, TestRouter, eventually};

const REQUESTS: u64 = 2_000;
const CLIENTS: usize = 48;
const SLOTS: usize = 4;
const MODELS: [&str; 3] = ["llama3.2", "qwen3:8b", "phi4"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_aborts_faults_and_kills_nothing_is_left_over() {
    // A first fleet without load opens what a process opens once.
    Plan::servers(1).start().await.finish().await;
    let before = Footprint::now();
    let router = Plan::servers(3)
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
        .set("routing.answer_timeout=2s")
        .start()
        .await;
    for model in MODELS {
        router
            .post("/api/generate", &json!({ "model": model }))
            .await;
    }
    router.at_rest().await;

    let mut random = fastrand::Rng::with_seed(7);
    let requests: Vec<_> = (0..REQUESTS).map(|i| (i, random.u64(..))).collect();
    iter(requests)
        .for_each_concurrent(CLIENTS, |(i, number)| request(&router, i, number))
        .await;

    router
        .servers
        .iter()
        .for_each(herdsman_simulator::Simulator::clear_faults);
    router.at_rest().await;
    for server in &router.servers {
        let counters = server.counters();
        for (model, counters) in &counters.models {
            assert!(counters.max_concurrent <= SLOTS, "{model}: {counters:?}");
        }
    }
    eventually("all servers are back", || {
        router.app.fleet().view().up().count() == 3
    })
    .await;
    // Every model is still served.
    for model in MODELS {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
        for _ in 0..6 {
            let answer = router.post("/api/chat", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let stats = router.app.spend().stats().clone();
    router.counted().await;
    assert_eq!(stats.pending(), 0);
    router.finish().await;
    before.is_restored().await;
}

/// One of many kinds of requests, sometimes with an injected fault or a killed actor or server.
async fn request(router: &TestRouter, i: u64, random: u64) {
    let server = &router.servers[(random % 3) as usize];
    match i % 40 {
        3 => server.fault(Fault::Reset { after: 3 }.next(1)),
        7 => server.fault(Fault::InternalError.next(1)),
        11 => server.fault(Fault::CleanEnd { after: 2 }.next(1)),
        15 => server.fault(Fault::Stall { after: 2 }.next(1)),
        19 => server.fault(Fault::HalfLine { after: 2 }.next(1)),
        23 => server.fault(Fault::Busy.next(2)),
        27 => server.fault(Fault::ErrorLine { after: 1 }.next(1)),
        31 => router.app.fleet().view().servers[(random % 3) as usize]
            .endpoint
            .kill_actor(),
        35 => router
            .app
            .fleet()
            .kill_queue(&ModelName::parse(MODELS[(random % 3) as usize]).unwrap()),
        39 if i % 400 == 39 => server.restart(Duration::from_millis(50)).await,
        _ if i % 500 == 250 => router.app.fleet().kill_registry(),
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
            // The client leaves at any moment, also before the first byte.
            let wait = Duration::from_micros((random >> 24) % 20_000);
            let _ = tokio::time::timeout(wait, router.post(path, &body)).await;
        }
        1 => {
            let mut stream = router.stream(path, &body).await;
            stream.piece().await;
        }
        _ => {
            let answer = router.post(path, &body).await;
            let status = answer.status.as_u16();
            assert!(
                [200, 500, 502, 503, 504].contains(&status),
                "{status}: {}",
                answer.text()
            );
        }
    }
}
