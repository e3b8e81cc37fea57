//! Routers as processes: killed with `kill -9`, stopped with `SIGSTOP`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use futures_util::future::join_all;
use herdsman::spend::recover;
use herdsman::store::Store;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::support::{On, Plan, SOON, Stage, eventually, record};

const NAME: &str = "HERDSMAN_TEST_ROUTER";
const DIR: &str = "HERDSMAN_TEST_DIR";
const REDIS: &str = "HERDSMAN_TEST_REDIS";
const STORE: &str = "HERDSMAN_TEST_STORE";
const FROM: &str = "HERDSMAN_TEST_FROM";

fn given(variable: &str) -> Option<String> {
    std::env::var_os(variable)?.into_string().ok()
}

/// Not a test by itself: what the tests below start, stop and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_router_in_a_process_of_its_own() {
    let (Some(name), Some(dir)) = (given(NAME), given(DIR)) else {
        return;
    };
    let mut plan = Plan::new(&name, &PathBuf::from(dir), vec![given(REDIS).unwrap()]);
    plan.lease_ttl = Duration::from_secs(10);
    let store = Store::open(&given(STORE).unwrap(), &plan.dir)
        .await
        .unwrap();
    let spend = plan.pipeline(store).await;
    let mut n: u64 = given(FROM).unwrap().parse().unwrap();
    loop {
        let some = (n..n + 16).map(|n| spend.record(record(n)));
        join_all(some).await.into_iter().for_each(Result::unwrap);
        println!("acknowledged {n}");
        n += 16;
        sleep(Duration::from_millis(4)).await;
    }
}

/// A process, and what it said was acknowledged.
struct Process {
    child: Child,
    said: Receiver<u64>,
    acknowledged: BTreeSet<u64>,
}

impl Process {
    fn start(stage: &Stage, plan: &Plan, url: &str, from: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::a_router_in_a_process_of_its_own"])
            .args(["--nocapture", "--test-threads", "1"])
            .env(NAME, &plan.name)
            .env(DIR, plan.dir.parent().unwrap())
            .env(REDIS, stage.redis.url())
            .env(STORE, url)
            .env(FROM, from.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            let numbers = lines.filter_map(|line| {
                let (_, n) = line.split_once("acknowledged ")?;
                n.parse().ok()
            });
            for n in numbers {
                // Nobody listens any more when the test is over.
                if tell.send(n).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            said,
            acknowledged: BTreeSet::new(),
        }
    }

    fn listen(&mut self) -> usize {
        for n in self.said.try_iter() {
            self.acknowledged.extend(n..n + 16);
        }
        self.acknowledged.len()
    }

    async fn works(&mut self) {
        let before = self.listen();
        eventually("it acknowledges more", async || {
            self.listen() > before + 160
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`; what it had acknowledged.
    fn kill(mut self) -> BTreeSet<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // All of its output has been read when the reader has nothing more to tell.
        while let Ok(n) = self.said.recv() {
            self.acknowledged.extend(n..n + 16);
        }
        std::mem::take(&mut self.acknowledged)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(stage: &Stage) -> String {
    let server = stage.database.server().unwrap();
    server.url(&stage.database.sql_name())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_any_router_at_any_moment() {
    let stage = Stage::on(On::Postgres).await;
    let url = url(&stage);
    let plans = ["a", "b", "c"].map(|name| stage.plan(name));
    let mut routers: Vec<_> = plans
        .iter()
        .zip(0..)
        .map(|(plan, n)| Process::start(&stage, plan, &url, n * 1_000_000))
        .collect();
    let mut all = BTreeSet::new();
    for life in 1..=7_u64 {
        for router in &mut routers {
            router.works().await;
        }
        let which = (life % 3) as usize;
        sleep(Duration::from_millis(life * 37 % 100)).await;
        let dead = routers.remove(which);
        all.extend(dead.kill());
        let from = which as u64 * 1_000_000 + life * 100_000;
        routers.insert(which, Process::start(&stage, &plans[which], &url, from));
    }
    for router in &mut routers {
        router.works().await;
    }
    for router in routers {
        all.extend(router.kill());
    }
    let store = stage.database.directly().await;
    for plan in &plans {
        recover(&plan.dir, store.clone(), SOON).await.unwrap();
    }
    stage.books().await.must_hold(&all);
    println!("{} acknowledged", all.len());
}

/// Longer than any lease: it is nobody's any more when the leader goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_thirty_seconds_does_no_harm() {
    let stage = Stage::on(On::MariaDb).await;
    let url = url(&stage);
    let plans = ["stopped", "other"].map(|name| stage.plan(name));
    let store = stage.database.directly().await;
    let leader = async || stage.last_leader().await;
    let mut stopped = Process::start(&stage, &plans[0], &url, 0);
    eventually("it leads", async || leader().await.leader == "stopped").await;
    let mut other = Process::start(&stage, &plans[1], &url, 1_000_000);
    other.works().await;
    let before = leader().await;
    stopped.signal(Signal::STOP);
    sleep(Duration::from_secs(30)).await;
    let after = leader().await;
    assert_eq!(after.leader, "other");
    assert!(after.epoch > before.epoch);
    stopped.signal(Signal::CONT);
    stopped.works().await;
    other.works().await;
    assert_eq!(
        leader().await,
        after,
        "the one that was stopped wrote nothing as a leader"
    );
    let mut all = stopped.kill();
    all.extend(other.kill());
    for plan in &plans {
        recover(&plan.dir, store.clone(), SOON).await.unwrap();
    }
    stage.books().await.must_hold(&all);
}
