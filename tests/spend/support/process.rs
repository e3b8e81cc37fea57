//! A router's pipeline in a process of its own, with clients in it, controlled by lines on its input.
//!
//! The process is this test program again, running the one test that is no test. It writes to its
//! output what was acknowledged to its clients, and reads commands from its input; everything else is
//! done to it with signals.

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
const INTERVALS: &str = "HERDSMAN_TEST_RHYTHM";

/// Records of one run: no two runs have a number in common.
pub const RECORDS_PER_RUN: u64 = 1_000_000;

/// A process, and what it has acknowledged.
pub struct Process {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Message>,
    acknowledged: BTreeSet<u64>,
    pub plan: Plan,
}

enum Message {
    Acknowledged(u64),
    /// Recorded, committed, pending, in dead letters.
    Settled([u64; 4]),
}

impl Process {
    /// Its clients, so many, record from number `from` on.
    pub fn start(plan: &Plan, database: &Database, from: u64, clients: u64) -> Self {
        Self::start_at(plan, database.place_of_routers(), from, clients)
    }

    /// The same, where its database is at another address.
    pub fn start_at(plan: &Plan, (url, dir): (String, PathBuf), from: u64, clients: u64) -> Self {
        let intervals = [plan.accept_timeout, plan.give_up, plan.lease_ttl]
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
            .env(INTERVALS, intervals.collect::<Vec<_>>().join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some(message) = parse(&line) else {
                    continue;
                };
                // The receiver is dropped when the test is over.
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            commands: child.stdin.take().unwrap(),
            child,
            messages,
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

    /// Ends its actors as panics would.
    pub fn kill_actors(&mut self) {
        self.send_command("actors");
    }

    /// It shuts down in order, within so much time.
    pub async fn stop(mut self, within: Duration) -> BTreeSet<u64> {
        self.send_command(&format!("stop {}", within.as_millis()));
        let mut child_ended = false;
        eventually("it stopped", async || {
            child_ended = self.child.try_wait().unwrap().is_some();
            child_ended
        })
        .await;
        self.end()
    }

    /// Its clients stop, and everything they recorded arrives: recorded, committed, pending, in dead
    /// letters; and what had been acknowledged to them.
    pub async fn settle(&mut self) -> ([u64; 4], BTreeSet<u64>) {
        self.send_command("settle");
        let mut settled = None;
        eventually("everything is in the database", async || {
            self.listen(&mut settled);
            settled.is_some()
        })
        .await;
        (settled.unwrap(), std::mem::take(&mut self.acknowledged))
    }

    fn send_command(&mut self, line: &str) {
        // A process that has ended takes no commands.
        let _ = writeln!(self.commands, "{line}").and_then(|()| self.commands.flush());
    }

    fn listen(&mut self, settled: &mut Option<[u64; 4]>) -> usize {
        for message in self.messages.try_iter() {
            match message {
                Message::Acknowledged(n) => drop(self.acknowledged.insert(n)),
                Message::Settled(sums) => *settled = Some(sums),
            }
        }
        self.acknowledged.len()
    }

    /// All of its output has been read when the reader has nothing more to tell.
    fn end(&mut self) -> BTreeSet<u64> {
        self.child.wait().unwrap();
        while let Ok(message) = self.messages.recv() {
            if let Message::Acknowledged(n) = message {
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

fn parse(line: &str) -> Option<Message> {
    if let Some((_, n)) = line.split_once("acknowledged ") {
        return n.parse().ok().map(Message::Acknowledged);
    }
    let (_, sums) = line.split_once("settled ")?;
    let sums: Option<Vec<u64>> = sums.split(' ').map(|sum| sum.parse().ok()).collect();
    sums?.try_into().ok().map(Message::Settled)
}

fn given(variable: &str) -> Option<String> {
    std::env::var_os(variable)?.into_string().ok()
}

/// What the process does, if it is one.
pub async fn run_router_process() {
    let (Some(name), Some(dir)) = (given(NAME), given(DIR)) else {
        return;
    };
    let number = |variable| given(variable).unwrap().parse::<u64>().unwrap();
    let redis = given(REDIS).unwrap();
    let redis = redis.split_whitespace().map(str::to_owned).collect();
    let intervals = given(INTERVALS).unwrap();
    let mut intervals = intervals
        .split(' ')
        .map(|ms| Duration::from_millis(ms.parse().unwrap()));
    let mut next = || intervals.next().unwrap();
    let plan = Plan {
        accept_timeout: next(),
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
    let (sender, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(command) = commands.recv().await {
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("actors", _) => {
                spend.kill_redis_actors();
                spend.kill_flush_actor();
                spend.kill_sealing_actor();
            }
            ("stop", within) => {
                running.store(false, Relaxed);
                let within = Duration::from_millis(within.parse().unwrap());
                // It may be in the middle of everything else, and then keeps what it has.
                let _ = spend.shutdown(Instant::now() + within).await;
                return;
            }
            ("settle", _) => {
                running.store(false, Relaxed);
                clients.wait().await;
                let stats = spend.stats();
                while stats.pending() > 0 || !spend.account().holds() {
                    sleep(Duration::from_millis(20)).await;
                }
                let sums = [
                    stats.recorded(),
                    stats.committed(),
                    stats.pending_in_journal(),
                ];
                let [recorded, committed, pending] = sums;
                println!(
                    "settled {recorded} {committed} {pending} {}",
                    stats.dead_lettered()
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
