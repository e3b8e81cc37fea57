//! Random faults on the servers while the fleet changes, by call and by a file that is read again: no request is
//! lost that a server could have served.
//!
//! `HERDSMAN_SEED=n` is another run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use herdsman::app::Reload;
use herdsman::backend::Backend;
use herdsman::fleet::{Desired, Drain, Settings, Spec};
use herdsman::upstream::Target;
use herdsman_simulator::{Fault, Model, Simulator};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::support::{Footprint, Plan, TestRouter, eventually};

const REQUESTS: u64 = 10_000;
const CLIENTS: usize = 48;
const SERVERS: usize = 4;
/// One for each server: a fault that is about a model is on one server for each model at a time.
const MODELS: [&str; SERVERS] = ["llama3.2", "qwen3:8b", "phi4", "gemma3"];
/// The file with the servers of the router, and what reads it as a signal makes the program do.
struct File {
    path: PathBuf,
    reload: Reload,
}

/// These servers are to be in the file, with settings by this seed; answered when it has been read.
type Change = (Vec<usize>, u64, oneshot::Sender<()>);

/// The last server has no faults and is never removed: whatever the others do, it can serve.
const SOUND: usize = SERVERS - 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_under_random_faults_and_changes_are_all_served() {
    Plan::servers(1).start().await.finish().await;
    let before = Footprint::now();
    #[expect(clippy::disallowed_methods, reason = "the seed of a test")]
    let seed = std::env::var("HERDSMAN_SEED").ok();
    let seed = seed.map_or(11, |seed| seed.parse().unwrap());
    let router = Plan::servers(SERVERS)
        .each(|server| {
            server.models = MODELS.map(Model::named).to_vec();
            server.parallel = 8;
            server.default_predict = 4;
            server.decode_interval = Duration::from_millis(1);
            server.load = Duration::from_millis(10);
        })
        .set("routing.slots=8")
        .set("routing.attempts=4")
        .set("routing.first_byte_timeout=1s")
        .set("routing.answer_timeout=1s")
        .start()
        .await;

    let mut random = fastrand::Rng::with_seed(seed);
    let all: Vec<_> = (0..SERVERS).collect();
    let path = router.dir.path().join("servers.toml");
    write(&path, &router, &all, &mut random);
    let mut file = File {
        reload: router.reload_from(&path),
        path,
    };
    let (changes, mut wanted) = mpsc::unbounded_channel();
    let requests: Vec<_> = (0..REQUESTS).map(|i| (i, random.u64(..))).collect();
    let answers = iter(requests)
        .map(|(i, seed)| request(&router, &changes, i, fastrand::Rng::with_seed(seed)))
        .buffer_unordered(CLIENTS);
    let whole = answers.filter(|whole| std::future::ready(*whole)).count();
    let reloads = async {
        while let Some((servers, seed, done)) = wanted.recv().await {
            let random = &mut fastrand::Rng::with_seed(seed);
            file.rewrite(&router, &servers, random).await;
            let _ = done.send(());
        }
    };
    let whole = tokio::select! {
        whole = whole => i64::try_from(whole).unwrap(),
        () = reloads => unreachable!("it can be asked"),
    };

    for server in &router.servers {
        server.clear_faults();
    }
    router.at_rest().await;
    // What is in the file is what there is.
    for servers in [&[SOUND][..], &all] {
        file.rewrite(&router, servers, &mut random).await;
        eventually("the servers of the file, and no others, are up", || {
            router.app.fleet().view().up().count() == servers.len()
        })
        .await;
    }
    let (input, output) = router.counted().await;
    let requests = i64::try_from(REQUESTS).unwrap();
    assert!(requests - whole < requests / 20, "{whole} were whole");
    assert!(input >= whole, "{input}");
    assert!(
        (4 * whole..=4 * requests).contains(&output),
        "{output} of {whole}"
    );
    assert_eq!(router.app.spend().stats().pending(), 0);
    let usage = router.get("/api/usage").await.json();
    for (endpoint, models) in usage["usage_counts"].as_object().unwrap() {
        for (model, running) in models.as_object().unwrap() {
            assert_eq!(running, 0, "{endpoint} {model}");
        }
    }
    router.finish().await;
    before.is_restored().await;
}

/// How many clients there are while an operator changes the servers, and how many answers they get.
const OPERATED_CLIENTS: usize = 100;
const OPERATED_REQUESTS: u64 = 6_000;
/// So many answers between two changes.
const BETWEEN: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_see_no_failure_while_servers_are_added_drained_and_removed() {
    #[expect(clippy::disallowed_methods, reason = "the seed of a test")]
    let seed = std::env::var("HERDSMAN_SEED").ok();
    let mut random = fastrand::Rng::with_seed(seed.map_or(12, |seed| seed.parse().unwrap()));
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(Simulator::start(quick()).await.unwrap());
    }
    let router = Plan::servers(1)
        .each(|server| *server = quick())
        .start()
        .await;
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let clients = join_all((0..OPERATED_CLIENTS).map(|seed| {
        let random = fastrand::Rng::with_seed(seed as u64);
        operated_client(&router, random, &answered, &stop)
    }));
    let changes = async {
        let mut operator = Operator::new(&router, &others);
        while answered.load(Ordering::Relaxed) < OPERATED_REQUESTS {
            operator.change(&mut random).await;
            let enough = answered.load(Ordering::Relaxed) + BETWEEN;
            eventually("requests are answered between two changes", || {
                answered.load(Ordering::Relaxed) >= enough
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
        operator.added()
    };
    let (_, added) = tokio::join!(clients, changes);
    let router = router.restarted(|_| {}).await;
    let observed = router.app.fleet().observed();
    let mut names: Vec<String> = observed
        .iter()
        .map(|server| server.id.name.to_string())
        .collect();
    names.retain(|name| name != "gpu-0");
    names.sort();
    assert_eq!(names, added, "the same servers after a restart");
    router.finish().await;
    for other in others {
        other.stop().await;
    }
}

fn quick() -> herdsman_simulator::Config {
    herdsman_simulator::Config {
        models: vec![Model::named("llama3.2")],
        parallel: 64,
        max_queue: 4096,
        default_predict: 6,
        decode_interval: Duration::from_millis(1),
        ..herdsman_simulator::Config::default()
    }
}

async fn operated_client(
    router: &TestRouter,
    mut random: fastrand::Rng,
    answered: &AtomicU64,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let streamed = random.bool();
        let messages = json!([{"role": "user", "content": "x"}]);
        let body = json!({"model": "llama3.2", "stream": streamed, "messages": messages});
        let answer = router.post("/api/chat", &body).await;
        let text = answer.text();
        assert!(
            answer.status == 200 && !answer.broken,
            "{}: {text}",
            answer.status
        );
        assert!(
            text.contains(r#""done":true"#) && !text.contains(r#""error""#),
            "{text}"
        );
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who changes the servers, and knows what there should be.
struct Operator<'a> {
    router: &'a TestRouter,
    others: &'a [Simulator],
    /// Whether each of the others is there, and takes requests.
    there: Vec<Option<bool>>,
}

impl<'a> Operator<'a> {
    fn new(router: &'a TestRouter, others: &'a [Simulator]) -> Self {
        Self {
            router,
            others,
            there: vec![None; others.len()],
        }
    }

    /// One change, of one of the servers: whatever is possible.
    async fn change(&mut self, random: &mut fastrand::Rng) {
        let at = random.usize(..self.others.len());
        let one = format!("/admin/endpoints/other-{at}");
        let (method, path, body, after) = match (self.there[at], random.u8(..4)) {
            (None, _) => {
                let url = self.others[at].url();
                let body = json!({"name": format!("other-{at}"), "url": url, "slots": 16});
                (
                    Method::POST,
                    "/admin/endpoints".to_owned(),
                    body,
                    Some(true),
                )
            }
            (Some(_), 0) => (Method::DELETE, one, Value::Null, None),
            (Some(true), 1) => {
                let body = json!({"weight": f64::from(random.u32(1..5))});
                (Method::PATCH, one, body, Some(true))
            }
            (Some(true), 2) => {
                let part = json!({"model": "llama3.2"});
                (Method::POST, format!("{one}/drain"), part, Some(false))
            }
            (Some(true), _) => (
                Method::POST,
                format!("{one}/drain"),
                Value::Null,
                Some(false),
            ),
            (Some(false), _) => (
                Method::POST,
                format!("{one}/resume"),
                Value::Null,
                Some(true),
            ),
        };
        let answer = self.router.admin(method.clone(), &path, body).await;
        assert!(
            answer.status.is_success(),
            "{method} {path}: {}",
            answer.text()
        );
        self.there[at] = after;
    }

    /// The names of those that are there.
    fn added(&self) -> Vec<String> {
        let there = self.there.iter().enumerate();
        let names = there.filter_map(|(at, there)| there.map(|_| format!("other-{at}")));
        names.collect()
    }
}

/// One request, sometimes with a fault or a change of the fleet before it. Says whether its answer was whole.
async fn request(
    router: &TestRouter,
    changes: &mpsc::UnboundedSender<Change>,
    i: u64,
    mut random: fastrand::Rng,
) -> bool {
    if i.is_multiple_of(17) {
        let at = random.usize(..SOUND);
        inject(&router.servers[at], at, &mut random);
    }
    if i % 400 == 200 {
        let at = random.usize(..SOUND);
        router.servers[at].restart(Duration::from_millis(30)).await;
    }
    if i % 60 == 30 {
        let mut wanted: Vec<_> = (0..SOUND).filter(|_| random.u8(..) < 200).collect();
        wanted.push(SOUND);
        match i % 120 {
            30 => change(router, &wanted, &mut random).await,
            _ => {
                let (done, read) = oneshot::channel();
                changes.send((wanted, random.u64(..), done)).unwrap();
                read.await.unwrap();
            }
        }
    }
    if i % 1_000 == 500 {
        router.app.fleet().kill_registry();
    }
    let model = MODELS[random.usize(..MODELS.len())];
    let streamed = random.bool();
    let messages = json!([{"role": "user", "content": "x"}]);
    let body = json!({"model": model, "stream": streamed, "messages": messages});
    let path = ["/api/chat", "/v1/chat/completions"][random.usize(..2)];
    let answer = router.post(path, &body).await;
    let text = answer.text();
    assert_eq!(answer.status, 200, "request {i}: {text}");
    assert!(!answer.broken, "request {i}: {text}");
    // A server that goes away takes the streams along that have begun. Nothing else is lost.
    if streamed && text.contains("the connection to the server broke inside its answer") {
        return false;
    }
    let end = match (path, streamed) {
        ("/api/chat", _) => r#""done":true"#,
        (_, true) => "[DONE]",
        (_, false) => r#""usage":{"#,
    };
    assert!(
        text.contains(end) && !text.contains(r#""error""#),
        "request {i}: {text}"
    );
    true
}

/// One fault before the first byte. Only the first server lets requests wait in vain: two of
/// these would cost a request the two tries that it has for them.
fn inject(server: &Simulator, at: usize, random: &mut fastrand::Rng) {
    let own = MODELS[at];
    let says = |status, headers: &[(&str, &str)], body: &str| Fault::Answer {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_owned(),
    };
    let count = random.u64(1..4);
    match random.u8(..11) {
        0 => server.fault(Fault::ResetOnAccept.next(count)),
        1 => server.fault(Fault::Busy.next(count)),
        2 => server.fault(says(429, &[("retry-after", "1")], "later").next(count)),
        3 => server.fault(Fault::StaleCatalogue.next(1)),
        4 => server.fault(Fault::LoadFailure.next(1)),
        5 => server.fault(Fault::InternalError.on(own).next(count)),
        6 => server.fault(Fault::OutOfMemory.on(own).next(1)),
        7 => server.fault(says(401, &[("www-authenticate", "Basic")], "no").next(count)),
        8 => server.fault(says(404, &[], "<html>nothing here</html>").next(count)),
        9 => server.fault(Fault::Reset { after: 0 }.next(1)),
        _ if at == 0 => server.fault(Fault::Stall { after: 0 }.next(1)),
        _ => server.fault(says(502, &[], "bad gateway").next(count)),
    }
}

/// These servers, with settings of their own.
async fn change(router: &TestRouter, wanted: &[usize], random: &mut fastrand::Rng) {
    let specs = wanted.iter().map(|at| {
        let server = &router.servers[*at];
        let base = server.url().parse().unwrap();
        Spec {
            name: format!("gpu-{at}").into(),
            url: server.url().into(),
            settings: Settings {
                target: Arc::new(Target::new(&base, "").unwrap()),
                backend: Backend::Ollama,
                weight: f64::from(random.u32(1..5)),
                priority: random.i32(0..2),
                slots: random.u32(2..9),
                labels: Arc::default(),
                drain: Drain::Nothing,
                cloud: false,
            },
        }
    });
    let desired = Desired::new(specs.collect()).unwrap();
    router.app.fleet().apply(&desired).await;
}

impl File {
    /// The same from the file, which is written anew and read as after a signal.
    async fn rewrite(&mut self, router: &TestRouter, wanted: &[usize], random: &mut fastrand::Rng) {
        write(&self.path, router, wanted, random);
        self.reload.now(&router.app).await;
    }
}

fn write(path: &Path, router: &TestRouter, wanted: &[usize], random: &mut fastrand::Rng) {
    let mut text = String::new();
    for at in wanted {
        let (url, weight) = (router.servers[*at].url(), random.u32(1..5));
        let (priority, slots) = (random.i32(0..2), random.u32(2..9));
        write!(
            text,
            "[[endpoint]]\nname = \"gpu-{at}\"\nurl = \"{url}\"\nweight = {weight}.0\n\
             priority = {priority}\nslots = {slots}\n"
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
}
