//! The routers of a storm, and the clients that record with them: in this process, where a crash is
//! cheap, or each in a process of its own, where it is real.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use fastrand::Rng;
use futures_util::future::join_all;
use herdsman::spend::Spend;
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::{CLIENTS, COUNT, FaultTarget};
use crate::support::{Fixture, Plan, Process, RECORDS_PER_RUN, Router, eventually, record};

pub enum Routers {
    InProcess(InProcess),
    Processes(Processes),
}

/// Runtimes of this process, between which clients choose.
pub struct InProcess {
    routers: Vec<Option<Router>>,
    /// The same, as clients find them.
    pipelines: Arc<Vec<ArcSwap<Spend>>>,
    clients: Vec<JoinHandle<Vec<u64>>>,
    running: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
}

/// Processes, with their clients in them.
pub struct Processes {
    routers: Vec<Option<Process>>,
    runs: u64,
    acknowledged: BTreeSet<u64>,
}

/// What clients and routers report in the end.
pub struct End {
    pub acknowledged: BTreeSet<u64>,
    /// No number from here on was ever tried.
    pub tried: u64,
    /// Of each router: recorded, committed, pending, in dead letters.
    pub sums: Vec<[u64; 4]>,
}

impl Routers {
    pub async fn in_process(fixture: &Fixture, plans: Vec<Plan>, seed: u64) -> Self {
        let (mut routers, mut pipelines) = (Vec::new(), Vec::new());
        for plan in plans {
            let router = fixture.start(plan).await;
            pipelines.push(ArcSwap::from_pointee(router.spend.clone()));
            routers.push(Some(router));
        }
        let pipelines = Arc::new(pipelines);
        let running = Arc::new(AtomicBool::new(true));
        let next = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS).map(|client| {
            let rng = Rng::with_seed(seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let (next, running) = (Arc::clone(&next), Arc::clone(&running));
            TaskTracker::new().spawn(work(Arc::clone(&pipelines), next, running, rng))
        });
        Self::InProcess(InProcess {
            clients: clients.collect(),
            routers,
            pipelines,
            running,
            next,
        })
    }

    pub fn processes(fixture: &Fixture, plans: &[Plan]) -> Self {
        let mut processes = Processes {
            routers: plans.iter().map(|_| None).collect(),
            runs: 0,
            acknowledged: BTreeSet::new(),
        };
        for (which, plan) in plans.iter().enumerate() {
            processes.begin(fixture, which, plan);
        }
        Self::Processes(processes)
    }

    /// The clients stop, and all that was recorded arrives. The routers go on.
    pub async fn settle(&mut self) -> End {
        match self {
            Self::InProcess(in_process) => in_process.settle().await,
            Self::Processes(processes) => processes.settle().await,
        }
    }
}

impl FaultTarget for Routers {
    async fn leader(&self, fixture: &Fixture) -> Option<usize> {
        match self {
            Self::InProcess(in_process) => {
                let leads = |router: &Option<Router>| router.as_ref().is_some_and(Router::leads);
                in_process.routers.iter().position(leads)
            }
            Self::Processes(processes) => {
                let leader = fixture.try_last_leader().await?.leader;
                let is = |router: &Option<Process>| {
                    let name = router
                        .as_ref()
                        .map(|router| format!("{}/", router.plan.name));
                    name.is_some_and(|name| leader.starts_with(&name))
                };
                processes.routers.iter().position(is)
            }
        }
    }

    async fn kill(&mut self, fixture: &Fixture, which: usize, pause: Duration) {
        match self {
            Self::InProcess(in_process) => {
                let plan = in_process.routers[which].take().unwrap().crash().await;
                sleep(pause).await;
                in_process.begin(fixture, which, plan).await;
            }
            Self::Processes(processes) => {
                let router = processes.routers[which].take().unwrap();
                let plan = router.plan.clone();
                processes.acknowledged.extend(router.kill());
                sleep(pause).await;
                processes.begin(fixture, which, &plan);
            }
        }
    }

    async fn restart(&mut self, fixture: &Fixture, which: usize, within: Duration) {
        match self {
            Self::InProcess(in_process) => {
                let router = in_process.routers[which].take().unwrap();
                // It may be in the middle of everything else, and then keeps what it has.
                let _ = router.spend.shutdown(Instant::now() + within).await;
                let plan = router.plan.clone();
                drop(router);
                in_process.begin(fixture, which, plan).await;
            }
            Self::Processes(processes) => {
                let router = processes.routers[which].take().unwrap();
                let plan = router.plan.clone();
                processes.acknowledged.extend(router.stop(within).await);
                processes.begin(fixture, which, &plan);
            }
        }
    }

    fn kill_actors(&mut self, which: usize) {
        match self {
            Self::InProcess(in_process) => {
                let spend = in_process.pipelines[which].load();
                spend.kill_redis_actors();
                spend.kill_flush_actor();
                spend.kill_sealing_actor();
            }
            Self::Processes(processes) => processes.routers[which].as_mut().unwrap().kill_actors(),
        }
    }

    /// Only a process can be stopped so.
    async fn freeze(&mut self, which: usize, pause: Duration) {
        if let Self::Processes(processes) = self {
            let router = processes.routers[which].as_ref().unwrap();
            router.signal(Signal::STOP);
            sleep(pause).await;
            router.signal(Signal::CONT);
        }
    }
}

impl InProcess {
    async fn begin(&mut self, fixture: &Fixture, which: usize, plan: Plan) {
        let router = fixture.start(plan).await;
        self.pipelines[which].store(Arc::new(router.spend.clone()));
        self.routers[which] = Some(router);
    }

    async fn settle(&mut self) -> End {
        self.running.store(false, Relaxed);
        let mut acknowledged = BTreeSet::new();
        for client in self.clients.drain(..) {
            acknowledged.extend(client.await.unwrap());
        }
        let routers: Vec<&Router> = self.routers.iter().flatten().collect();
        join_all(routers.iter().map(|router| router.settle())).await;
        eventually("their counts agree", async || {
            routers.iter().all(|router| router.spend.account().holds())
        })
        .await;
        let sums = routers.iter().map(|router| {
            let stats = router.spend.stats();
            let sums = [
                stats.recorded(),
                stats.committed(),
                stats.pending_in_journal(),
            ];
            let [recorded, committed, pending] = sums;
            [recorded, committed, pending, stats.dead_lettered()]
        });
        End {
            acknowledged,
            tried: self.next.load(Relaxed),
            sums: sums.collect(),
        }
    }
}

impl Processes {
    fn begin(&mut self, fixture: &Fixture, which: usize, plan: &Plan) {
        let from = self.runs * RECORDS_PER_RUN;
        self.runs += 1;
        let clients = CLIENTS / COUNT as u64;
        self.routers[which] = Some(Process::start(plan, &fixture.database, from, clients));
    }

    async fn settle(&mut self) -> End {
        let routers = self.routers.iter_mut().flatten();
        let ends = join_all(routers.map(Process::settle)).await;
        let (sums, acknowledged): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        self.acknowledged.extend(acknowledged.into_iter().flatten());
        End {
            acknowledged: std::mem::take(&mut self.acknowledged),
            tried: self.runs * RECORDS_PER_RUN,
            sums,
        }
    }
}

/// A client: records until it is over; returns what was acknowledged to it.
async fn work(
    pipelines: Arc<Vec<ArcSwap<Spend>>>,
    next: Arc<AtomicU64>,
    running: Arc<AtomicBool>,
    mut rng: Rng,
) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    while running.load(Relaxed) {
        let spend = Spend::clone(&pipelines[rng.usize(..pipelines.len())].load());
        let n = next.fetch_add(1, Relaxed);
        if spend.record(record(n)).await.is_ok() {
            acknowledged.push(n);
        }
        sleep(Duration::from_millis(rng.u64(5..60))).await;
    }
    acknowledged
}
