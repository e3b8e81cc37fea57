//! The three programs, as clients, operators and storms know them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::accounts::Accounts;
use super::http::Http;
use super::program::Program;
use super::servers::Servers;
use crate::storm::{FaultTarget, Storm};
use crate::support::{Fixture, eventually};

pub struct Routers {
    programs: Vec<Program>,
    http: Http,
}

/// What `/metrics` says that matters here.
#[derive(Debug, PartialEq)]
struct Gauges {
    leads: bool,
    in_flight: u64,
    recorded: u64,
    pending: u64,
}

impl Routers {
    /// Starts them; they serve when this returns.
    pub async fn start(storm: &Storm, servers: &Servers, http: &Http) -> Self {
        let fleet = servers.configuration();
        let plans = storm.plans();
        let program = |plan| Program::new(plan, &storm.fixture.database, &fleet);
        let mut routers = Self {
            programs: plans.iter().map(program).collect(),
            http: http.clone(),
        };
        routers.programs.iter_mut().for_each(Program::start);
        for router in 0..routers.programs.len() {
            eventually("it is ready", async || {
                routers.programs[router].must_run();
                let ready = format!("{}/health/ready", routers.programs[router].url());
                routers.http.get(&ready).await.is_some()
            })
            .await;
        }
        routers
    }

    /// Where clients find them.
    pub fn addresses(&self) -> Arc<[String]> {
        self.programs.iter().map(Program::url).collect()
    }

    /// Waits until each accepts these keys.
    pub async fn know(&self, accounts: &Accounts) {
        for address in &*self.addresses() {
            for key in &accounts.0 {
                eventually("it knows the key", async || {
                    // What is asked costs nothing, and is counted for nobody.
                    let ask = http::Request::post(format!("{address}/api/show"))
                        .header("authorization", format!("Bearer {}", key.secret))
                        .body(json!({"model": "ewe"}).to_string().into())
                        .unwrap();
                    let answer = self.http.send(ask, false).await;
                    answer.is_ok_and(|answer| answer.status == 200)
                })
                .await;
            }
        }
    }

    async fn gauges(&self, which: usize) -> Option<Gauges> {
        let page = format!("{}/metrics", self.programs[which].url());
        let page = self.http.get(&page).await?;
        let page = std::str::from_utf8(&page).ok()?;
        // With labels or without.
        let sum = |name: &str| -> u64 {
            let lines = page.lines().filter_map(|line| line.strip_prefix(name));
            let ours = lines.filter(|rest| rest.starts_with(['{', ' ']));
            ours.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        Some(Gauges {
            leads: sum("herdsman_pod_lock_manager_size") > 0,
            in_flight: sum("herdsman_in_flight") + sum("herdsman_queue_length"),
            recorded: sum("herdsman_spend_records_recorded_total"),
            pending: sum("herdsman_spend_records_pending_total"),
        })
    }

    /// Everything the clients caused arrives in the database.
    pub async fn settle(&mut self) {
        for which in 0..self.programs.len() {
            let mut before = None;
            eventually(
                "nothing runs there, and everything is written",
                async || {
                    self.programs[which].must_run();
                    let now = self.gauges(which).await;
                    let still = now.as_ref().is_some_and(|now| {
                        (now.in_flight, now.pending) == (0, 0)
                            && before.as_ref() == Some(&now.recorded)
                    });
                    before = now.map(|now| now.recorded);
                    sleep(Duration::from_millis(100)).await;
                    still
                },
            )
            .await;
        }
    }

    /// `herdsman spend verify`, asked of all of them: it holds, and nothing is pending anywhere.
    pub async fn must_add_up(&self) {
        let ended = Command::new(env!("CARGO_BIN_EXE_herdsman"))
            .args(["spend", "verify", "--json", "--address"])
            .arg(self.addresses().join(","))
            .output()
            .await
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(said["holds"], true, "{said}");
        assert_eq!(said["database"]["dead_letters"], 0, "{said}");
        let routers = said["routers"].as_array().unwrap();
        assert_eq!(routers.len(), self.programs.len(), "{said}");
        for router in routers {
            let records = &router["records"];
            assert_eq!(records["committed"], records["recorded"], "{said}");
            assert_eq!(
                (&records["pending"], &records["dead_lettered"]),
                (&json!(0), &json!(0)),
                "{said}"
            );
        }
    }
}

impl FaultTarget for Routers {
    async fn leader(&self, _: &Fixture) -> Option<usize> {
        let all = (0..self.programs.len()).map(|which| self.gauges(which));
        // One that is just starting does not answer.
        let all = timeout(Duration::from_secs(1), join_all(all)).await.ok()?;
        let leads = |gauges: &Option<Gauges>| gauges.as_ref().is_some_and(|gauges| gauges.leads);
        all.iter().position(leads)
    }

    async fn kill(&mut self, _: &Fixture, which: usize, pause: Duration) {
        self.programs[which].kill();
        sleep(pause).await;
        self.programs[which].start();
    }

    /// Within the program's own grace.
    async fn restart(&mut self, _: &Fixture, which: usize, _: Duration) {
        self.programs[which].stop().await;
        self.programs[which].start();
    }

    async fn freeze(&mut self, which: usize, pause: Duration) {
        self.programs[which].signal(Signal::STOP);
        sleep(pause).await;
        self.programs[which].signal(Signal::CONT);
    }

    async fn fail_over(&mut self, which: usize) {
        let redis = format!("{}/admin/redis", self.programs[which].url());
        let Some(status) = self.http.get(&redis).await else {
            return;
        };
        let status: Value = serde_json::from_slice(&status).unwrap();
        let mut databases = status["databases"].as_array().unwrap().iter();
        if let Some(other) = databases.find(|database| database["active"] == false) {
            let there = format!("{redis}/{}/active", other["id"]);
            // It may refuse; then it stays where it is.
            self.http.post(&there, &json!({"force": true})).await;
        }
    }
}
