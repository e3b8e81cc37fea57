//! Operators add, drain and remove servers while clients are served.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use herdsman_simulator::{Model, Simulator};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::churn::client;
use crate::support::{Plan, TestRouter, eventually};

const CLIENTS: u64 = 100;
const ALL: &str = "/admin/endpoints";

/// Adds, drains, resumes and removes these servers at random; returns how many of the changes were made.
async fn operate(
    router: &TestRouter,
    others: &[Simulator],
    until: Instant,
    answered: &AtomicU64,
) -> u32 {
    let (mut random, mut made) = (fastrand::Rng::with_seed(7), 0);
    while Instant::now() < until {
        let at = random.usize(..others.len());
        let name = format!("op-{at}");
        let path = format!("{ALL}/{name}");
        let (method, path, body) = match random.u8(..5) {
            0 | 1 => {
                let body = json!({"url": others[at].url(), "name": name});
                (Method::POST, ALL.to_owned(), body)
            }
            2 => (Method::POST, format!("{path}/drain"), Value::Null),
            3 => (Method::POST, format!("{path}/resume"), Value::Null),
            _ => (Method::DELETE, path, Value::Null),
        };
        let answer = router.admin(method, &path, body).await;
        let status = answer.status.as_u16();
        assert!([200, 201, 404, 409].contains(&status), "{}", answer.text());
        made += u32::from(answer.status.is_success());
        // Between two changes some requests have to end on what the first one left.
        let enough = answered.load(Ordering::Relaxed) + 20;
        eventually("requests are answered between two changes", || {
            answered.load(Ordering::Relaxed) >= enough
        })
        .await;
    }
    made
}

/// Every server: where it is, and whether it is kept from new requests.
async fn servers(router: &TestRouter) -> Vec<(Value, Value, bool)> {
    let listed = router.get(ALL).await.json();
    let listed = listed["endpoints"].as_array().unwrap().iter();
    let mut servers: Vec<_> = listed
        .map(|one| {
            let drains = one["phase"].as_str().unwrap().starts_with("drain");
            (one["name"].clone(), one["url"].clone(), drains)
        })
        .collect();
    servers.sort_by_key(|(name, ..)| name.to_string());
    servers
}

/// For two seconds, or as long as is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_add_drain_and_remove_servers_and_no_request_fails() {
    #[expect(clippy::disallowed_methods, reason = "how long a test lasts")]
    let seconds = std::env::var("HERDSMAN_CHURN_SECONDS").ok();
    let seconds = seconds.map_or(2, |seconds| seconds.parse().unwrap());
    let quick = |server: &mut herdsman_simulator::Config| {
        server.parallel = 512;
        server.max_queue = 4096;
        server.default_predict = 6;
        server.decode_interval = Duration::from_millis(1);
    };
    let router = Plan::servers(1).each(quick).start().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut config = herdsman_simulator::Config {
            models: vec![Model::named("llama3.2")],
            ..herdsman_simulator::Config::default()
        };
        quick(&mut config);
        others.push(Simulator::start(config).await.unwrap());
    }
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let clients = join_all((0..CLIENTS).map(|seed| client(&router, seed, &stop, &answered)));
    let changes = async {
        let until = Instant::now() + Duration::from_secs(seconds);
        let made = operate(&router, &others, until, &answered).await;
        stop.store(true, Ordering::Relaxed);
        made
    };
    let (_, made) = tokio::join!(clients, changes);
    let answered = answered.load(Ordering::Relaxed);
    println!("{answered} requests, {made} changes in {seconds} s");
    assert!(made > 5, "{made}");

    let removed = || router.app.fleet().observed().iter().all(|one| !one.leaving);
    eventually("what was removed is gone", removed).await;
    let before = servers(&router).await;
    let router = router.restarted(|_| {}).await;
    eventually("the added servers are there again", || {
        router.app.fleet().view().servers.len() == before.len()
    })
    .await;
    assert_eq!(servers(&router).await, before);
    router.finish().await;
    for server in others {
        server.stop().await;
    }
}
