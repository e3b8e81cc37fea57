//! Routers whose wall clocks are ten minutes apart from the database's, one ahead and one behind.
//!
//! What is agreed on between routers is measured by clocks that all of them share: registrations by the database's,
//! limits and the leadership by that of Redis. The clock that measures time within a router is right.

use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::clients::{Clients, Retries};
use super::{ADMIN_KEY, Agent, DATABASE, Herd, Simulated, comes_true};

/// A registration holds for ten seconds.
const LONGER_THAN_A_TERM: Duration = Duration::from_secs(13);
/// What one request costs: ten tokens written. Reading is free.
const COST: i64 = 10_000;
const BUDGET: i64 = 60 * COST;

/// What fakes the clock of a program that is started with it.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let mut found =
        folders.map(|folder| folder.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let found = found.find(|library| library.exists());
    found.expect("libfaketime, which `make cluster-tools` installs")
}

impl Herd {
    /// From its next start on the router has another wall clock.
    fn set_clock(&mut self, router: usize, offset: &str) {
        let library = format!("LD_PRELOAD={}", libfaketime().display());
        let words = [
            "env",
            &library,
            &format!("FAKETIME={offset}"),
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            env!("CARGO_BIN_EXE_herdsman"),
        ];
        self.routers[router].is_run_by(words);
    }

    /// By how many seconds a router is ahead of another, as their answers say.
    async fn ahead(&self, router: usize, of: usize) -> i64 {
        let mut times = Vec::new();
        for n in [router, of] {
            let request = Request::get(format!("{}/health/live", self.routers[n].url()));
            let answer = self.http.send(request.body(Full::default()).unwrap());
            let answer = answer.await.unwrap();
            let date = answer.headers()["date"].to_str().unwrap();
            let time = httpdate::parse_http_date(date).unwrap();
            let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
            times.push(i64::try_from(since.as_secs()).unwrap());
        }
        times[0] - times[1]
    }

    /// Every router sees all of them, and both servers.
    async fn all_are_there(&self) {
        for router in &self.routers {
            let url = format!("{}/admin/cluster", router.url());
            let said = self.http.get(&url).await.unwrap();
            assert_eq!(said["registry"]["available"], true, "{said}");
            let routers = said["routers"].as_array().unwrap();
            assert_eq!(routers.len(), self.routers.len(), "{said}");
            let agents = said["agents"].as_array().unwrap();
            let alive = |agent: &&Value| agent["alive"] == true && agent["incarnation"] == 1;
            assert_eq!(agents.iter().filter(alive).count(), 2, "{said}");
            for age in routers.iter().chain(agents) {
                let age = age["age_ms"].as_i64().unwrap();
                assert!((0..10_000).contains(&age), "{said}");
            }
        }
    }

    /// With a key that was made through one of them, until all of them refuse it. How often it was answered.
    async fn spend_all(&self, maker: usize) -> i64 {
        let url = |router: usize, path: &str| format!("{}{path}", self.routers[router].url());
        let budget = json!({"limit_nano_usd": BUDGET, "period": "1d"});
        let (status, made) = self
            .http
            .post(&url(maker, "/admin/keys"), ADMIN_KEY, &budget)
            .await;
        assert_eq!(status, 201, "{made}");
        let key = made["key"].as_str().unwrap();
        // Who knows of the one that was made later knows of this one.
        let later = self.blocked_key(maker).await;
        for router in 0..self.routers.len() {
            self.refuses(router, &later).await;
        }
        let chat = json!({"model": "llama3.2", "stream": false, "options": {"num_predict": 10},
                          "messages": [{"role": "user", "content": "count me"}]});
        let (mut answered, mut refusals, mut at) = (0, 0, maker);
        let deadline = Instant::now() + 2 * crate::support::TEST_TIMEOUT;
        while refusals < self.routers.len() {
            assert!(Instant::now() < deadline, "{answered} answered, and no end");
            at = (at + 1) % self.routers.len();
            match self.http.post(&url(at, "/api/chat"), key, &chat).await {
                (200, _) => (answered, refusals) = (answered + 1, 0),
                (429, _) => refusals += 1,
                other => panic!("{other:?}"),
            }
        }
        let spent = format!(
            "SELECT coalesce(sum(spend_nano_usd), 0), count(distinct period_start) FROM spend_periods \
             WHERE kind = 'key' AND entity = '{}'",
            made["id"].as_str().unwrap()
        );
        let expected = format!("{}\t1", answered * COST);
        comes_true("all of it is counted, in one period", async || {
            self.database.sql(DATABASE, &spent) == expected
        })
        .await;
        answered
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_whose_clocks_are_ten_minutes_off_agree_on_who_is_there_and_on_what_is_left() {
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
    let servers = [Simulated::start(&arguments), Simulated::start(&arguments)];
    let tables = "[[endpoint]]\nurl = \"http://127.0.0.1:1\"\nname = \"nobody\"\n\
                  [[price]]\nmodel = \"llama3.2\"\ninput = 0.0\noutput = 1.0\n";
    let mut herd = Herd::new().await.with_routers(3, "", tables);
    herd.set_clock(1, "+10m");
    herd.set_clock(2, "-10m");
    herd.start().await;
    for (router, expected) in [(1, 600), (2, -600)] {
        let ahead = herd.ahead(router, 0).await;
        assert!(
            (ahead - expected).abs() <= 2,
            "its clock is {ahead} s ahead"
        );
    }
    // Each registers with one of those whose clocks are wrong.
    let urls = herd.urls();
    let agents: Vec<Agent> = servers
        .iter()
        .enumerate()
        .map(|(n, server)| {
            Agent::start(
                &format!("gpu-{n}"),
                server,
                &urls[n + 1..=n + 1],
                herd.folder(),
            )
        })
        .collect();
    let up = |said: &Value| {
        let all = said["endpoints"].as_array().unwrap();
        all.iter().filter(|server| server["phase"] == "up").count() == 2
    };
    herd.all_say("both servers are used", "/admin/endpoints", up)
        .await;
    let clients = Clients::start(12, &urls, Retries::Unconnected);
    clients.are_served().await;

    // Made by each of these clocks, the budget is one, and is neither exceeded nor lost.
    for maker in 0..3 {
        let answered = herd.spend_all(maker).await;
        assert!(answered * COST <= BUDGET, "{answered} answers exceed it");
        assert!(2 * answered * COST >= BUDGET, "after {answered} answers");
    }
    let began = Instant::now();
    while began.elapsed() < LONGER_THAN_A_TERM {
        herd.all_are_there().await;
        sleep(Duration::from_millis(100)).await;
    }
    clients.are_served().await;
    let seen = clients.stop().await;
    assert!(seen.missed.is_empty(), "{:#?}", seen.missed);
    herd.must_have_counted(&seen).await;
    drop(agents);
}
