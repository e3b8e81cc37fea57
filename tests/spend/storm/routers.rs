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

use super::{CLIENTS, COUNT, Fleet};
use crate::support::{OF_A_LIFE, Plan, Process, Router, Stage, eventually, record};

pub enum Routers {
    Here(Here),
    Apart(Apart),
}

/// Runtimes of this process, between which clients choose.
pub struct Here {
    routers: Vec<Option<Router>>,
    /// The same, as clients find them.
    doors: Arc<Vec<ArcSwap<Spend>>>,
    clients: Vec<JoinHandle<Vec<u64>>>,
    running: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
}

/// Processes, with their clients in them.
pub struct Apart {
    routers: Vec<Option<Process>>,
    lives: u64,
    acknowledged: BTreeSet<u64>,
}

/// What clients and routers say in the end.
pub struct End {
    pub acknowledged: BTreeSet<u64>,
    /// No number from here on was ever tried.
    pub tried: u64,
    /// Of each router: recorded, committed, owed, in dead letters.
    pub sums: Vec<[u64; 4]>,
}

impl Routers {
    pub async fn here(stage: &Stage, plans: Vec<Plan>, seed: u64) -> Self {
        let (mut routers, mut doors) = (Vec::new(), Vec::new());
        for plan in plans {
            let router = stage.start(plan).await;
            doors.push(ArcSwap::from_pointee(router.spend.clone()));
            routers.push(Some(router));
        }
        let doors = Arc::new(doors);
        let running = Arc::new(AtomicBool::new(true));
        let next = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS).map(|client| {
            let rng = Rng::with_seed(seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let (next, running) = (Arc::clone(&next), Arc::clone(&running));
            TaskTracker::new().spawn(work(Arc::clone(&doors), next, running, rng))
        });
        Self::Here(Here {
            clients: clients.collect(),
            routers,
            doors,
            running,
            next,
        })
    }

    pub fn apart(stage: &Stage, plans: &[Plan]) -> Self {
        let mut apart = Apart {
            routers: plans.iter().map(|_| None).collect(),
            lives: 0,
            acknowledged: BTreeSet::new(),
        };
        for (which, plan) in plans.iter().enumerate() {
            apart.begin(stage, which, plan);
        }
        Self::Apart(apart)
    }

    /// The clients go home, and all that was recorded arrives. The routers go on.
    pub async fn settle(&mut self) -> End {
        match self {
            Self::Here(here) => here.settle().await,
            Self::Apart(apart) => apart.settle().await,
        }
    }
}

impl Fleet for Routers {
    async fn leader(&self, stage: &Stage) -> Option<usize> {
        match self {
            Self::Here(here) => {
                let leads = |router: &Option<Router>| router.as_ref().is_some_and(Router::leads);
                here.routers.iter().position(leads)
            }
            Self::Apart(apart) => {
                let leader = stage.try_last_leader().await?.leader;
                let is = |router: &Option<Process>| {
                    let name = router
                        .as_ref()
                        .map(|router| format!("{}/", router.plan.name));
                    name.is_some_and(|name| leader.starts_with(&name))
                };
                apart.routers.iter().position(is)
            }
        }
    }

    async fn kill(&mut self, stage: &Stage, which: usize, pause: Duration) {
        match self {
            Self::Here(here) => {
                let plan = here.routers[which].take().unwrap().crash().await;
                sleep(pause).await;
                here.begin(stage, which, plan).await;
            }
            Self::Apart(apart) => {
                let router = apart.routers[which].take().unwrap();
                let plan = router.plan.clone();
                apart.acknowledged.extend(router.kill());
                sleep(pause).await;
                apart.begin(stage, which, &plan);
            }
        }
    }

    async fn restart(&mut self, stage: &Stage, which: usize, within: Duration) {
        match self {
            Self::Here(here) => {
                let router = here.routers[which].take().unwrap();
                // It may be in the middle of everything else, and then keeps what it has.
                let _ = router.spend.shutdown(Instant::now() + within).await;
                let plan = router.plan.clone();
                drop(router);
                here.begin(stage, which, plan).await;
            }
            Self::Apart(apart) => {
                let router = apart.routers[which].take().unwrap();
                let plan = router.plan.clone();
                apart.acknowledged.extend(router.stop(within).await);
                apart.begin(stage, which, &plan);
            }
        }
    }

    fn kill_actors(&mut self, which: usize) {
        match self {
            Self::Here(here) => {
                let spend = here.doors[which].load();
                spend.kill_redis_actors();
                spend.kill_flush_actor();
                spend.kill_forward_actor();
            }
            Self::Apart(apart) => apart.routers[which].as_mut().unwrap().kill_actors(),
        }
    }

    /// Only a process can be stopped so.
    async fn freeze(&mut self, which: usize, pause: Duration) {
        if let Self::Apart(apart) = self {
            let router = apart.routers[which].as_ref().unwrap();
            router.signal(Signal::STOP);
            sleep(pause).await;
            router.signal(Signal::CONT);
        }
    }
}

impl Here {
    async fn begin(&mut self, stage: &Stage, which: usize, plan: Plan) {
        let router = stage.start(plan).await;
        self.doors[which].store(Arc::new(router.spend.clone()));
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
        eventually("their books are closed", async || {
            routers.iter().all(|router| router.spend.account().holds())
        })
        .await;
        let sums = routers.iter().map(|router| {
            let stats = router.spend.stats();
            let sums = [stats.recorded(), stats.committed(), stats.owed()];
            let [recorded, committed, owed] = sums;
            [recorded, committed, owed, stats.dead_lettered()]
        });
        End {
            acknowledged,
            tried: self.next.load(Relaxed),
            sums: sums.collect(),
        }
    }
}

impl Apart {
    fn begin(&mut self, stage: &Stage, which: usize, plan: &Plan) {
        let from = self.lives * OF_A_LIFE;
        self.lives += 1;
        let clients = CLIENTS / COUNT as u64;
        self.routers[which] = Some(Process::start(plan, &stage.database, from, clients));
    }

    async fn settle(&mut self) -> End {
        let routers = self.routers.iter_mut().flatten();
        let ends = join_all(routers.map(Process::settle)).await;
        let (sums, acknowledged): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        self.acknowledged.extend(acknowledged.into_iter().flatten());
        End {
            acknowledged: std::mem::take(&mut self.acknowledged),
            tried: self.lives * OF_A_LIFE,
            sums,
        }
    }
}

/// A client: records until it is over; returns what was acknowledged to it.
async fn work(
    doors: Arc<Vec<ArcSwap<Spend>>>,
    next: Arc<AtomicU64>,
    running: Arc<AtomicBool>,
    mut rng: Rng,
) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    while running.load(Relaxed) {
        let spend = Spend::clone(&doors[rng.usize(..doors.len())].load());
        let n = next.fetch_add(1, Relaxed);
        if spend.record(record(n)).await.is_ok() {
            acknowledged.push(n);
        }
        sleep(Duration::from_millis(rng.u64(5..60))).await;
    }
    acknowledged
}
