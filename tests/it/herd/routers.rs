//! Routers in front of the same servers.

use std::sync::Arc;
use std::time::Duration;

use herdsman::cluster::loads::{LoadLocks as _, RedisLoadLocks};
use herdsman::fleet::Shown;
use herdsman_simulator::{Config, Model, Simulator};
use herdsman_test_support::redis;
use herdsman_test_support::sql::{Flavor, Server};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Plan, TestRouter, eventually};

/// Servers that take whatever comes, so that their own count shows how much that is.
const MANY: usize = 64;

struct Herd {
    servers: Vec<Simulator>,
    routers: Vec<Arc<TestRouter>>,
    redis: redis::Server,
    database: Server,
    settings: Vec<String>,
}

impl Herd {
    async fn start(routers: usize, servers: usize, slots: u32, sharing: &str) -> Self {
        let settings = [
            format!("routing.slots={slots}"),
            format!("cluster.slots={sharing}"),
        ];
        Self::of(routers, servers, settings.to_vec(), |_| {}).await
    }

    /// With these settings of all routers, and servers that are changed like this.
    async fn of(
        routers: usize,
        servers: usize,
        settings: Vec<String>,
        change: impl Fn(&mut Config),
    ) -> Self {
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
            database,
            settings,
        };
        for at in 0..servers {
            let mut config = Config {
                node: format!("gpu-{at}"),
                models: vec![Model::named("llama3.2")],
                parallel: MANY,
                default_predict: 4,
                ..Config::default()
            };
            change(&mut config);
            herd.servers.push(Simulator::start(config).await.unwrap());
        }
        for _ in 0..routers {
            herd.join().await;
        }
        let all = i64::try_from(routers).unwrap();
        eventually("all routers have their part", || {
            let mut routers = herd.routers.iter();
            routers.all(|router| router.app.fleet().slots_divided() == all)
        })
        .await;
        herd
    }

    async fn join(&mut self) {
        let mut plan = Plan::servers(0)
            .redis([&*self.redis.url()])
            .set(&format!("store.url={}", self.database.url("herd")));
        for setting in &self.settings {
            plan = plan.set(setting);
        }
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
                        let answer = router.post("/api/chat", &chat("llama3.2", 4)).await;
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
        servers
            .map(|server| server.counters().max_concurrent)
            .max()
            .unwrap()
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
    assert!(
        answered.iter().all(|answered| *answered > 20),
        "{answered:?}"
    );
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

/// Answers, and the mean time to the first byte, of 200 clients that share the routers. Servers compute `parallel` at once.
async fn served(
    routers: usize,
    sharing: &str,
    parallel: usize,
    how_long: Duration,
) -> (u64, Duration) {
    let settings = [
        "routing.slots=2".to_owned(),
        format!("cluster.slots={sharing}"),
    ];
    let herd = Herd::of(routers, 8, settings.to_vec(), |config| {
        config.parallel = parallel;
        config.default_predict = 8;
        config.decode_interval = Duration::from_millis(25);
    });
    let herd = herd.await;
    let until = Instant::now() + how_long;
    let mut clients = JoinSet::new();
    for client in 0..200 {
        let router = Arc::clone(&herd.routers[client % routers]);
        clients.spawn(async move {
            let (mut answered, mut waited) = (0, Duration::ZERO);
            while Instant::now() < until {
                let asked = Instant::now();
                let mut answer = router.stream("/api/chat", &chat("llama3.2", 8)).await;
                assert_eq!(answer.status, 200);
                answer.piece().await.unwrap();
                waited += asked.elapsed();
                assert!(!answer.whole().await.broken);
                answered += 1;
            }
            (answered, waited)
        });
    }
    let (mut answered, mut waited) = (0, Duration::ZERO);
    while let Some(ended) = clients.join_next().await {
        let (number, time) = ended.unwrap();
        answered += number;
        waited += time;
    }
    let most = herd.most();
    let bound = if sharing == "strict" {
        2
    } else {
        2 + routers - 1
    };
    assert!(most <= bound, "{most}");
    herd.finish().await;
    (answered, waited / u32::try_from(answered).unwrap())
}

/// With `HERDSMAN_HERD_SECONDS` a measurement: what three routers serve, and how soon, beside one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_of_three_routers_are_served_within_the_slots() {
    let seconds = std::env::var_os("HERDSMAN_HERD_SECONDS");
    let seconds = seconds.and_then(|seconds| seconds.to_str()?.parse().ok());
    let how_long = Duration::from_secs(seconds.unwrap_or(4));
    let one = served(1, "strict", MANY, how_long).await;
    // Whatever a server is sent beyond its slots it computes later.
    for (sharing, parallel) in [("strict", MANY), ("safe", 2), ("safe", MANY)] {
        let three = served(3, sharing, parallel, how_long).await;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let part = three.0 as f64 / one.0 as f64;
        let wait = three.1.as_secs_f64() / one.1.as_secs_f64();
        println!(
            "{sharing}, {parallel} at once: {part:.3} of the answers, first byte {wait:.3} ({:?})",
            three.1
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_have_their_part_of_the_slots_by_their_clients() {
    let herd = Herd::start(2, 2, 4, "strict").await;
    let answered = herd.load(&[48, 16], Duration::from_secs(6)).await;
    println!("answered {answered:?}");
    let part = answered[0] * 100 / (answered[0] + answered[1]);
    assert!((65..=85).contains(&part), "{answered:?}");
    assert!(herd.most() <= 4, "{}", herd.most());
    herd.finish().await;
}

/// One thread runs whatever is next, so that a router's own requests come before what others are to have.
#[tokio::test]
async fn one_slot_goes_round_among_busy_routers() {
    let herd = Herd::of(
        2,
        1,
        vec![
            "routing.slots=1".to_owned(),
            "cluster.slots=strict".to_owned(),
        ],
        |_| {},
    );
    let herd = herd.await;
    let answered = herd.load(&[4, 4], Duration::from_secs(12)).await;
    println!("answered {answered:?}");
    let least = answered.iter().min().unwrap();
    assert!(least * 5 > answered.iter().sum::<u64>(), "{answered:?}");
    assert!(herd.most() <= 1, "{}", herd.most());
    herd.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_kept_to_while_redis_is_away_actors_crash_and_routers_come_and_go() {
    let mut herd = Herd::start(2, 2, 3, "strict").await;
    let load = herd.load(&[12, 12], Duration::from_secs(8));
    let faults = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for router in &herd.routers {
            router.app.fleet().kill_shares();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        herd.redis.pause();
        tokio::time::sleep(Duration::from_secs(2)).await;
        herd.redis.resume();
    };
    let (answered, ()) = tokio::join!(load, faults);
    println!("answered {answered:?}, at most {} at once", herd.most());
    assert!(herd.most() <= 3, "{}", herd.most());
    herd.join().await;
    eventually("the third has its part", || {
        herd.routers[2].app.fleet().slots_divided() == 3
    })
    .await;
    herd.load(&[6, 6, 6], Duration::from_secs(2)).await;
    assert!(herd.most() <= 3, "{}", herd.most());
    let Ok(gone) = Arc::try_unwrap(herd.routers.pop().unwrap()) else {
        panic!("a client is left");
    };
    let began = Instant::now();
    gone.finish().await;
    eventually("what it had is divided among the others", || {
        let mut routers = herd.routers.iter();
        routers.all(|router| router.app.fleet().slots_divided() == 2)
    })
    .await;
    println!(
        "divided anew {:?} after it was told to stop",
        began.elapsed()
    );
    herd.load(&[6, 6], Duration::from_secs(1)).await;
    assert!(herd.most() <= 3, "{}", herd.most());
    herd.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_do_not_grow_with_the_number_of_routers() {
    let asked = async |routers: usize| {
        let herd = Herd::start(routers, 1, 2, "safe").await;
        // All that is asked at the start.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = herd.servers[0].counters().http_requests;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let asked = herd.servers[0].counters().http_requests - before;
        herd.finish().await;
        asked
    };
    let (one, four) = (asked(1).await, asked(4).await);
    println!("{one} probes of one router, {four} of four");
    assert!(one > 20, "{one}");
    assert!(four * 10 < one * 16, "{four} of four routers, {one} of one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_elsewhere_is_known_and_busy_servers_come_last() {
    let slow = |config: &mut Config| {
        config.decode_interval = Duration::from_millis(100);
        config.default_predict = 600;
    };
    let herd = Herd::of(2, 2, vec!["routing.slots=4".to_owned()], slow).await;
    let everywhere = json!({"endpoints": ["gpu-0", "gpu-1"]});
    let path = "/admin/models/llama3.2/load";
    let loaded = herd.routers[1].admin(Method::POST, path, everywhere).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    let long = chat("llama3.2", 600);
    let mut stream = herd.routers[0].stream("/api/chat", &long).await;
    stream.piece().await.unwrap();
    let busy = stream.headers["x-herdsman-endpoint"]
        .to_str()
        .unwrap()
        .to_owned();
    let elsewhere = || {
        let view = herd.routers[1].app.fleet().view();
        let mut servers = view.servers.iter();
        let server = servers.find(|server| **server.endpoint.name() == *busy);
        server.unwrap().endpoint.elsewhere()
    };
    let began = Instant::now();
    eventually("the other router knows", || elsewhere() == 1).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    for _ in 0..6 {
        let answer = herd.routers[1]
            .post("/api/chat", &chat("llama3.2", 1))
            .await;
        assert_ne!(answer.headers["x-herdsman-endpoint"], *busy);
    }
    drop(stream);
    eventually("it is over", || elsewhere() == 0).await;
    herd.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_one_router_has_loaded_is_not_loaded_elsewhere_for_another() {
    let slow = |config: &mut Config| config.load = Duration::from_secs(2);
    let herd = Herd::of(2, 3, vec!["routing.slots=4".to_owned()], slow).await;
    let short = chat("llama3.2", 1);
    let first = herd.routers[0].post("/api/chat", &short);
    let later = async {
        let loading = || {
            let servers = herd.routers[0].app.fleet().view();
            let mut servers = servers.servers.iter();
            servers.any(|server| !server.report.warm.is_empty())
        };
        eventually("it loads", loading).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        herd.routers[1].post("/api/chat", &short).await
    };
    let (one, two) = tokio::join!(first, later);
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    let loads: u64 = herd
        .servers
        .iter()
        .map(|server| server.counters().loads)
        .sum();
    assert_eq!(loads, 1);
    herd.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_known_to_be_gone_everywhere_within_a_second() {
    let settings = vec!["fleet.probe_interval=20s".to_owned()];
    let mut herd = Herd::of(2, 1, settings, |_| {}).await;
    let is = |router: &TestRouter, phase: Shown| {
        let observed = router.app.fleet().observed();
        observed.iter().all(|server| server.phase == phase)
    };
    eventually("it is up", || {
        herd.routers.iter().all(|router| is(router, Shown::Up))
    })
    .await;
    herd.servers.clear();
    // Only the first has a request for it, which finds it gone.
    let refused = herd.routers[0]
        .post("/api/chat", &chat("llama3.2", 1))
        .await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    let began = Instant::now();
    eventually("the other knows", || is(&herd.routers[1], Shown::Down)).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    herd.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_one_lock_for_loads_which_expires() {
    let server = redis::Server::start().await;
    let client = ::redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let locks = |me: &str| RedisLoadLocks::new(connection.clone(), "test", me.into());
    let (one, two) = (locks("one"), locks("two"));
    let long = Duration::from_secs(60);
    assert!(one.take("http://a:1", long).await);
    assert!(!two.take("http://a:1", long).await);
    assert!(two.take("http://b:1", long).await, "another server");
    assert!(one.take("http://a:1", long).await, "its own");
    two.give("http://a:1").await;
    assert!(
        !two.take("http://a:1", long).await,
        "only its holder gives it back"
    );
    one.give("http://a:1").await;
    assert!(two.take("http://a:1", Duration::from_millis(20)).await);
    let began = Instant::now();
    while !one.take("http://a:1", long).await {
        assert!(began.elapsed() < Duration::from_secs(10), "it has expired");
    }
    server.pause();
    assert!(
        two.take("http://a:1", long).await,
        "nobody is asked: nobody is kept from it"
    );
}

fn chat(model: &str, tokens: u32) -> Value {
    json!({
        "model": model,
        "messages": [{"role": "user", "content": "x"}],
        "options": {"num_predict": tokens},
    })
}
