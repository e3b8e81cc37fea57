//! Clients under load: what each was told, what it was not, and how long it took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::comes_true;
use super::http::Http;
use crate::support::TEST_TIMEOUT;

/// Between two requests of a client, and half of it more or less.
const THINKS: Duration = Duration::from_millis(300);

/// When a client goes on with the next address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// When it gets no connection: what every client with several addresses does.
    Unconnected,
    /// And when a connection ends before a byte of the answer.
    Unanswered,
}

/// Requests that have a tag of their own, so that the database says what they were: some that were answered, and at
/// most one that was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lot {
    pub answered: i64,
    /// What the answers said: tokens read and written.
    pub tokens: [i64; 2],
    /// After them, one whose end nobody saw.
    pub unknown: bool,
}

/// Why a request was not answered, and in which phase of the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    pub phase: String,
    pub why: String,
    /// Some of the answer had come.
    pub begun: bool,
}

/// What all clients know in the end.
#[derive(Debug, Default)]
pub struct Seen {
    /// By tag.
    pub lots: BTreeMap<String, Lot>,
    pub missed: Vec<Missed>,
    /// By phase: the longest that anybody waited for the first byte.
    pub longest: BTreeMap<String, Duration>,
    /// Requests that were sent to another router after one had failed.
    pub moved: usize,
}

/// All of them, running.
pub struct Clients {
    running: Arc<AtomicBool>,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Seen>>,
}

struct Shared {
    phase: ArcSwap<String>,
    /// By client: how many answers.
    answers: Vec<AtomicU64>,
}

struct Client {
    number: usize,
    http: Http,
    retries: Retries,
    /// It asks the first; the others where that fails.
    addresses: Vec<String>,
    /// Every request has a connection of its own.
    closes: bool,
    lot: usize,
    seen: Seen,
}

/// How one try ended.
enum Tried {
    Answered([i64; 2]),
    /// Another router may be asked.
    Unreached(String),
    Missed {
        why: String,
        begun: bool,
    },
}

impl Clients {
    /// Each begins with the next one of the addresses.
    pub fn start(number: usize, addresses: &[String], retries: Retries) -> Self {
        Self::each(vec![addresses.to_vec(); number], retries)
    }

    /// One client for each of these lists of addresses.
    pub fn each(addresses: Vec<Vec<String>>, retries: Retries) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let shared = Arc::new(Shared {
            phase: ArcSwap::from_pointee("before".to_owned()),
            answers: addresses.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let tasks = TaskTracker::new();
        let clients = addresses
            .into_iter()
            .enumerate()
            .map(|(number, mut addresses)| {
                let first = number % addresses.len();
                addresses.rotate_left(first);
                let client = Client {
                    number,
                    http: Http::new(),
                    retries,
                    addresses,
                    closes: number % 4 == 3,
                    lot: 0,
                    seen: Seen::default(),
                };
                tasks.spawn(client.work(Arc::clone(&running), Arc::clone(&shared)))
            });
        Self {
            clients: clients.collect(),
            running,
            shared,
        }
    }

    /// What happens from now on.
    pub fn phase(&self, name: &str) {
        self.shared.phase.store(Arc::new(name.to_owned()));
    }

    /// How long it takes until each client has had an answer to a request that it sent after this.
    pub async fn are_served(&self) -> Duration {
        let began = Instant::now();
        let answers = || self.shared.answers.iter().map(|n| n.load(SeqCst));
        let before: Vec<u64> = answers().collect();
        // The answer to one that was under way may come first.
        comes_true("each client is served", async || {
            answers().zip(&before).all(|(now, before)| now > before + 1)
        })
        .await;
        began.elapsed()
    }

    /// When each client has its last answer.
    pub async fn stop(self) -> Seen {
        self.running.store(false, SeqCst);
        let mut all = Seen::default();
        for seen in join_all(self.clients).await {
            let seen = seen.unwrap();
            all.lots.extend(seen.lots);
            all.missed.extend(seen.missed);
            all.moved += seen.moved;
            for (phase, time) in seen.longest {
                let longest = all.longest.entry(phase).or_default();
                *longest = time.max(*longest);
            }
        }
        all
    }
}

impl Seen {
    pub fn answered(&self) -> i64 {
        self.lots.values().map(|lot| lot.answered).sum()
    }
}

impl Client {
    async fn work(mut self, running: Arc<AtomicBool>, shared: Arc<Shared>) -> Seen {
        for n in 0_u64.. {
            if !running.load(SeqCst) {
                break;
            }
            if self.ask(n, &shared).await {
                shared.answers[self.number].fetch_add(1, SeqCst);
            }
            sleep(THINKS.mul_f64(0.5 + fastrand::f64())).await;
        }
        self.seen
    }

    /// One request. Whether it was answered.
    async fn ask(&mut self, n: u64, shared: &Shared) -> bool {
        let phase = || String::clone(&shared.phase.load());
        let mut said = Vec::new();
        for at in 0..self.addresses.len() {
            if at > 0 {
                self.seen.moved += 1;
            }
            match self.attempt(n, at, &phase()).await {
                Tried::Answered(tokens) => {
                    let lot = self.lot();
                    lot.answered += 1;
                    lot.tokens = [lot.tokens[0] + tokens[0], lot.tokens[1] + tokens[1]];
                    return true;
                }
                Tried::Unreached(why) => {
                    self.next_lot();
                    said.push(why);
                }
                Tried::Missed { why, begun } => {
                    self.next_lot();
                    self.misses(phase(), why, begun);
                    return false;
                }
            }
        }
        self.misses(phase(), said.join("; "), false);
        false
    }

    fn misses(&mut self, phase: String, why: String, begun: bool) {
        self.seen.missed.push(Missed { phase, why, begun });
    }

    fn tag(&self) -> String {
        format!("client-{}-{}", self.number, self.lot)
    }

    fn lot(&mut self) -> &mut Lot {
        let tag = self.tag();
        self.seen.lots.entry(tag).or_default()
    }

    /// Nobody knows what became of this one.
    fn next_lot(&mut self) {
        self.lot().unknown = true;
        self.lot += 1;
    }

    async fn attempt(&mut self, n: u64, at: usize, phase: &str) -> Tried {
        let began = Instant::now();
        let request = self.request(n, &self.addresses[at]);
        let answer = match timeout(TEST_TIMEOUT, self.http.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let why = format!("{}: {error:?}", self.addresses[at]);
                return match error.is_connect() || self.retries == Retries::Unanswered {
                    true => Tried::Unreached(why),
                    false => Tried::Missed { why, begun: false },
                };
            }
            Err(_) => {
                let why = "no answer in time".to_owned();
                return Tried::Missed { why, begun: false };
            }
        };
        let longest = self.seen.longest.entry(phase.to_owned()).or_default();
        *longest = began.elapsed().max(*longest);
        match timeout(TEST_TIMEOUT, whole(answer)).await {
            Ok(Ok(tokens)) => Tried::Answered(tokens),
            Ok(Err((why, begun))) => Tried::Missed { why, begun },
            Err(_) => {
                let why = "no end in time".to_owned();
                Tried::Missed { why, begun: true }
            }
        }
    }

    /// Streamed or not, in the one dialect or the other.
    fn request(&self, n: u64, address: &str) -> Request<Full<Bytes>> {
        let stream = n.is_multiple_of(2);
        let messages = json!([{"role": "user", "content": "count me"}]);
        let (path, body) = match (n / 2 % 2, stream) {
            (0, _) => (
                "/api/chat",
                json!({"model": "llama3.2", "messages": messages, "stream": stream}),
            ),
            (_, true) => (
                "/v1/chat/completions",
                json!({"model": "llama3.2", "messages": messages, "stream": true,
                       "stream_options": {"include_usage": true}}),
            ),
            (_, false) => (
                "/v1/chat/completions",
                json!({"model": "llama3.2", "messages": messages}),
            ),
        };
        let mut request = Request::post(format!("{address}{path}"))
            .header("content-type", "application/json")
            .header("x-herdsman-tags", self.tag());
        if self.closes {
            request = request.header("connection", "close");
        }
        request.body(Full::from(body.to_string())).unwrap()
    }
}

/// What a whole answer says; else why it is none, and whether it had begun.
async fn whole(answer: Response<Incoming>) -> Result<[i64; 2], (String, bool)> {
    let status = answer.status();
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    let ended = loop {
        match body.frame().await {
            None => break Ok(()),
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(error)) => break Err(error),
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    if status != 200 {
        return Err((format!("{status}: {text}"), false));
    }
    let last = text.trim_end().lines().last().unwrap_or_default();
    match (ended, tokens(&text)) {
        (Ok(()), Some(tokens)) => Ok(tokens),
        (Ok(()), None) => Err((format!("no end: {last}"), true)),
        (Err(error), _) => Err((format!("{error:?} after {last}"), true)),
    }
}

/// Read and written, if it has its end.
fn tokens(text: &str) -> Option<[i64; 2]> {
    let of = |usage: &Value, read: &str, written: &str| {
        Some([usage[read].as_i64()?, usage[written].as_i64()?])
    };
    let openai = |usage: &Value| of(usage, "prompt_tokens", "completion_tokens");
    let mut events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    if text.starts_with("data: ") {
        let mut usage = None;
        let ended = events.any(|event| {
            let event_json: Value = serde_json::from_str(event).unwrap_or_default();
            usage = usage.or(openai(&event_json["usage"]));
            event == "[DONE]"
        });
        return usage.filter(|_| ended);
    }
    let last: Value = serde_json::from_str(text.lines().last()?).ok()?;
    let native = of(&last, "prompt_eval_count", "eval_count").filter(|_| last["done"] == true);
    native.or_else(|| openai(&last["usage"]))
}
