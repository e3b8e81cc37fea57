//! A router's pipeline in a process of its own, with clients in it, ordered about by lines.
//!
//! The process is this test program again, running the one test that is no test. It says on its
//! output what was acknowledged to its clients, and hears on its input what it shall do; everything
//! else is done to it with signals.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use herdsman::store::Store;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::{Database, Plan, eventually, record};

const NAME: &str = "HERDSMAN_TEST_ROUTER";
const DIR: &str = "HERDSMAN_TEST_DIR";
const REDIS: &str = "HERDSMAN_TEST_REDIS";
const STORE: &str = "HERDSMAN_TEST_STORE";
const STORE_DIR: &str = "HERDSMAN_TEST_STORE_DIR";
const FROM: &str = "HERDSMAN_TEST_FROM";
const CLIENTS: &str = "HERDSMAN_TEST_CLIENTS";
const RHYTHM: &str = "HERDSMAN_TEST_RHYTHM";

/// Records of one life: no two lives have a number in common.
pub const OF_A_LIFE: u64 = 1_000_000;

/// A process, and what it said was acknowledged.
pub struct Process {
    child: Child,
    orders: ChildStdin,
    said: Receiver<Said>,
    acknowledged: BTreeSet<u64>,
    pub plan: Plan,
}

enum Said {
    Acknowledged(u64),
    /// Recorded, committed, owed, in dead letters.
    Settled([u64; 4]),
}

impl Process {
    /// Its clients, so many, record from number `from` on.
    pub fn start(plan: &Plan, database: &Database, from: u64, clients: u64) -> Self {
        Self::start_at(plan, database.place_of_routers(), from, clients)
    }

    /// The same, where its database is at another address.
    pub fn start_at(plan: &Plan, (url, dir): (String, PathBuf), from: u64, clients: u64) -> Self {
        let rhythm = [plan.patience, plan.give_up, plan.lease_ttl]
            .into_iter()
            .chain([plan.seal_interval, plan.flush_interval])
            .map(|time| time.as_millis().to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::a_router_in_a_process_of_its_own"])
            .args(["--nocapture", "--test-threads", "1"])
            .env(NAME, &plan.name)
            .env(DIR, plan.dir.parent().unwrap())
            .env(REDIS, plan.redis.join(" "))
            .env(STORE, url)
            .env(STORE_DIR, dir)
            .env(FROM, from.to_string())
            .env(CLIENTS, clients.to_string())
            .env(RHYTHM, rhythm.collect::<Vec<_>>().join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some(said) = understood(&line) else {
                    continue;
                };
                // Nobody listens any more when the test is over.
                if tell.send(said).is_err() {
                    return;
                }
            }
        });
        Self {
            orders: child.stdin.take().unwrap(),
            child,
            said,
            acknowledged: BTreeSet::new(),
            plan: plan.clone(),
        }
    }

    /// Waits until more has been acknowledged.
    pub async fn works(&mut self) {
        let before = self.listen(&mut None);
        eventually("it acknowledges more", async || {
            self.listen(&mut None) > before + 160
        })
        .await;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`; what it had acknowledged.
    pub fn kill(mut self) -> BTreeSet<u64> {
        self.child.kill().unwrap();
        self.end()
    }

    /// Its actors die, as if they had panicked.
    pub fn kill_actors(&mut self) {
        self.order("actors");
    }

    /// It shuts down in order, within so much time.
    pub async fn stop(mut self, within: Duration) -> BTreeSet<u64> {
        self.order(&format!("stop {}", within.as_millis()));
        let mut child_ended = false;
        eventually("it stopped", async || {
            child_ended = self.child.try_wait().unwrap().is_some();
            child_ended
        })
        .await;
        self.end()
    }

    /// Its clients go home, and everything they recorded arrives: recorded, committed, owed, in dead
    /// letters; and what had been acknowledged to them.
    pub async fn settle(&mut self) -> ([u64; 4], BTreeSet<u64>) {
        self.order("rest");
        let mut settled = None;
        eventually("everything is in the database", async || {
            self.listen(&mut settled);
            settled.is_some()
        })
        .await;
        (settled.unwrap(), std::mem::take(&mut self.acknowledged))
    }

    fn order(&mut self, line: &str) {
        // One that is gone does nothing any more.
        let _ = writeln!(self.orders, "{line}").and_then(|()| self.orders.flush());
    }

    fn listen(&mut self, settled: &mut Option<[u64; 4]>) -> usize {
        for said in self.said.try_iter() {
            match said {
                Said::Acknowledged(n) => drop(self.acknowledged.insert(n)),
                Said::Settled(sums) => *settled = Some(sums),
            }
        }
        self.acknowledged.len()
    }

    /// All of its output has been read when the reader has nothing more to tell.
    fn end(&mut self) -> BTreeSet<u64> {
        self.child.wait().unwrap();
        while let Ok(said) = self.said.recv() {
            if let Said::Acknowledged(n) = said {
                self.acknowledged.insert(n);
            }
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

fn understood(line: &str) -> Option<Said> {
    if let Some((_, n)) = line.split_once("acknowledged ") {
        return n.parse().ok().map(Said::Acknowledged);
    }
    let (_, sums) = line.split_once("settled ")?;
    let sums: Option<Vec<u64>> = sums.split(' ').map(|sum| sum.parse().ok()).collect();
    sums?.try_into().ok().map(Said::Settled)
}

fn given(variable: &str) -> Option<String> {
    std::env::var_os(variable)?.into_string().ok()
}

/// What the process does, if it is one.
pub async fn be_a_router() {
    let (Some(name), Some(dir)) = (given(NAME), given(DIR)) else {
        return;
    };
    let number = |variable| given(variable).unwrap().parse::<u64>().unwrap();
    let redis = given(REDIS).unwrap();
    let redis = redis.split_whitespace().map(str::to_owned).collect();
    let rhythm = given(RHYTHM).unwrap();
    let mut rhythm = rhythm
        .split(' ')
        .map(|ms| Duration::from_millis(ms.parse().unwrap()));
    let mut next = || rhythm.next().unwrap();
    let plan = Plan {
        patience: next(),
        give_up: next(),
        lease_ttl: next(),
        seal_interval: next(),
        flush_interval: next(),
        ..Plan::new(&name, &PathBuf::from(dir), redis)
    };
    let store_dir = PathBuf::from(given(STORE_DIR).unwrap());
    let store = Store::open(&given(STORE).unwrap(), &store_dir)
        .await
        .unwrap();
    let spend = plan.pipeline(store).await;
    let next = Arc::new(AtomicU64::new(number(FROM)));
    let running = Arc::new(AtomicBool::new(true));
    let clients = TaskTracker::new();
    for _ in 0..number(CLIENTS) {
        let (spend, next, running) = (spend.clone(), Arc::clone(&next), Arc::clone(&running));
        clients.spawn(async move {
            while running.load(Relaxed) {
                let n = next.fetch_add(1, Relaxed);
                if spend.record(record(n)).await.is_ok() {
                    println!("acknowledged {n}");
                }
                sleep(Duration::from_millis(fastrand::u64(5..60))).await;
            }
        });
    }
    clients.close();
    let (tell, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("actors", _) => {
                spend.kill_redis_actors();
                spend.kill_flush_actor();
                spend.kill_forward_actor();
            }
            ("stop", within) => {
                running.store(false, Relaxed);
                let within = Duration::from_millis(within.parse().unwrap());
                // It may be in the middle of everything else, and then keeps what it has.
                let _ = spend.shutdown(Instant::now() + within).await;
                return;
            }
            ("rest", _) => {
                running.store(false, Relaxed);
                clients.wait().await;
                let stats = spend.stats();
                while stats.pending() > 0 || !spend.account().holds() {
                    sleep(Duration::from_millis(20)).await;
                }
                let sums = [stats.recorded(), stats.committed(), stats.owed()];
                let [recorded, committed, owed] = sums;
                println!(
                    "settled {recorded} {committed} {owed} {}",
                    stats.dead_lettered()
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
