//! Clients: each asks one router after the other, tries nothing twice, and remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::accounts::Accounts;
use super::ask::{Ask, WAYS};
use super::http::{Http, Missed};
use crate::storm::CLIENTS;
use crate::support::eventually;

/// What the end of an answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Read, written.
    pub tokens: [i64; 2],
    pub endpoint: String,
}

/// By request.
type Answers = BTreeMap<u64, Result<Told, Missed>>;

/// All of them, running.
pub struct Workload {
    clients: Vec<JoinHandle<Answers>>,
    running: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    /// By key: somebody has seen the end of an answer.
    served: Arc<[AtomicBool]>,
    /// Requests before this number were sent before the first fault.
    undisturbed: u64,
}

/// What all clients know in the end.
pub struct Seen {
    /// By request: those whose end a client saw.
    pub told: BTreeMap<u64, Told>,
    /// How many had no end. Those that began with 200 broke, or their clients left.
    pub missed: BTreeMap<Missed, u64>,
    /// No request has this number or a higher one.
    pub asked: u64,
    undisturbed: u64,
}

/// One client.
struct Client {
    http: Http,
    addresses: Arc<[String]>,
    secrets: Arc<[String]>,
    running: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    served: Arc<[AtomicBool]>,
    rng: Rng,
}

impl Workload {
    pub fn start(addresses: Arc<[String]>, accounts: &Accounts, seed: u64) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let next = Arc::new(AtomicU64::new(0));
        let secrets: Arc<[String]> = accounts.0.iter().map(|key| key.secret.clone()).collect();
        let served: Arc<[AtomicBool]> = accounts.0.iter().map(|_| AtomicBool::default()).collect();
        let tasks = TaskTracker::new();
        let clients = (0..CLIENTS).map(|client| {
            let client = Client {
                http: Http::new(),
                addresses: Arc::clone(&addresses),
                secrets: Arc::clone(&secrets),
                running: Arc::clone(&running),
                next: Arc::clone(&next),
                served: Arc::clone(&served),
                rng: Rng::with_seed(seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            };
            tasks.spawn(client.work())
        });
        Self {
            clients: clients.collect(),
            running,
            next,
            served,
            undisturbed: 0,
        }
    }

    /// Before anything breaks, each key is served: those that have a limit as well, which nobody gives out
    /// before all routers have had the time to say what they know of it. In a storm that may never be.
    pub async fn is_served(&mut self) {
        eventually("each key is served", async || {
            self.served.iter().all(|key| key.load(Relaxed))
        })
        .await;
        self.undisturbed = self.next.load(Relaxed);
    }

    /// Ends when each client has its last answer, or its timeout.
    pub async fn stop(self) -> Seen {
        self.running.store(false, Relaxed);
        let (mut told, mut missed) = (BTreeMap::new(), BTreeMap::new());
        for client in self.clients {
            for (n, answer) in client.await.unwrap() {
                match answer {
                    Ok(answer) => drop(told.insert(n, answer)),
                    Err(why) => *missed.entry(why).or_default() += 1,
                }
            }
        }
        Seen {
            told,
            missed,
            asked: self.next.load(Relaxed),
            undisturbed: self.undisturbed,
        }
    }
}

impl Client {
    async fn work(mut self) -> Answers {
        let mut answers = BTreeMap::new();
        while self.running.load(Relaxed) {
            let n = self.next.fetch_add(1, Relaxed);
            let address = self.rng.usize(..self.addresses.len());
            let answer = self.ask(n, address).await;
            if answer.is_ok() {
                self.served[Ask::of(n, self.secrets.len()).key].store(true, Relaxed);
            }
            answers.insert(n, answer);
            sleep(Duration::from_millis(self.rng.u64(20..300))).await;
        }
        answers
    }

    async fn ask(&self, n: u64, address: usize) -> Result<Told, Missed> {
        let ask = Ask::of(n, self.secrets.len());
        let request = Request::post(format!("{}{}", self.addresses[address], ask.path()))
            .header("authorization", format!("Bearer {}", self.secrets[ask.key]))
            .header("content-type", "application/json")
            .header("x-herdsman-tags", ask.tags())
            .body(Full::new(Bytes::from(ask.body().to_string())))
            .unwrap();
        let answer = self.http.send(request, ask.leaves).await?;
        let well = Some(&answer.bytes).filter(|_| answer.status == 200);
        let tokens = well.and_then(|bytes| ask.told(bytes));
        Ok(Told {
            tokens: tokens.ok_or(Missed::Begun(answer.status))?,
            endpoint: answer.endpoint,
        })
    }
}

impl Seen {
    /// Enough of every sort came to its end, whatever was broken.
    pub fn must_be_enough(&self, seconds: u64) {
        let ends: Vec<u64> = self
            .told
            .range(self.undisturbed..)
            .map(|(&n, _)| n)
            .collect();
        let enough = ends.len() as u64 > 20 * seconds;
        assert!(enough, "{} in {seconds} s are too few", ends.len());
        let ways: BTreeSet<_> = ends.iter().map(|&n| Ask::of(n, 1).way).collect();
        assert_eq!(ways.len(), WAYS.len(), "{ways:?}");
    }
}
