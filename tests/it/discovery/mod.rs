//! Servers that are found: by names, by records of services, in a file.

mod nameserver;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use herdsman::config::Endpoint;
use herdsman_simulator::{Config, Model, Simulator};
use herdsman_test_support::Port;
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::registered::Agent;
use crate::support::{Plan, TestRouter, eventually};
use nameserver::{Mood, Nameserver};

/// A new server is to be used in less.
const SOON: Duration = Duration::from_secs(5);
const NAME: &str = "gpus.herd.test";

/// A server at this address; all of a name have one port.
async fn server(address: SocketAddr) -> Simulator {
    let config = Config {
        listen: Some(address),
        models: vec![Model::named("llama3.2")],
        default_predict: 60,
        decode_interval: Duration::from_millis(10),
        ..Config::default()
    };
    Simulator::start(config).await.unwrap()
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 7, last)
}

fn dns(port: u16) -> String {
    format!("discovery.dns=[\"http://{NAME}:{port}\"]")
}

fn names(router: &TestRouter) -> Vec<String> {
    let observed = router.app.fleet().observed();
    let wanted = observed.iter().filter(|server| !server.leaving);
    let mut names: Vec<String> = wanted.map(|server| server.id.name.to_string()).collect();
    names.sort();
    names
}

async fn is_up(router: &TestRouter, name: &str) {
    eventually(&format!("{name} is up and lists its models"), || {
        let view = router.app.fleet().view();
        let mut up = view.up();
        up.any(|server| **server.endpoint.name() == *name && server.report.models.is_some())
    })
    .await;
}

/// What `/health` says of the only place.
async fn place(router: &TestRouter) -> Value {
    let health = router.get("/health").await.json();
    let places = health["discovery"].as_object().unwrap();
    places.values().next().unwrap().clone()
}

async fn is_shown(router: &TestRouter, status: &str) {
    let deadline = Instant::now() + crate::support::TEST_TIMEOUT;
    while place(router).await["status"] != status {
        assert!(Instant::now() < deadline, "never {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_address_of_a_name_serves_and_one_that_leaves_is_drained() {
    let (dnsd, port) = (Nameserver::start().await, Port::free());
    let at = |last| SocketAddr::from((ip(last), port.number()));
    let (one, two) = (server(at(1)).await, server(at(2)).await);
    dnsd.host(NAME, [ip(1)]);
    let plan = Plan::servers(0)
        .set(&dns(port.number()))
        .set(&dnsd.setting());
    let router = plan.start().await;
    let first = at(1).to_string();
    assert_eq!(names(&router), [&*first], "before the first request");
    is_up(&router, &first).await;
    let shown = router
        .get(&format!("/admin/endpoints/{first}"))
        .await
        .json();
    assert_eq!(
        [&shown["source"], &shown["labels"]],
        [&json!("dns"), &json!([NAME])]
    );

    let (second, began) = (at(2).to_string(), Instant::now());
    dnsd.host(NAME, [ip(1), ip(2)]);
    is_up(&router, &second).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    // Several, so that each server has one when the first leaves.
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = router.stream("/api/chat", &chat()).await;
        stream.piece().await.unwrap();
        streams.push(stream);
    }
    dnsd.host(NAME, [ip(2)]);
    for stream in streams {
        let lines = stream.whole().await.lines();
        assert_eq!(lines.last().unwrap()["done"], true);
    }
    eventually("it is gone", || {
        router.app.fleet().view().servers.len() == 1
    })
    .await;
    assert_eq!(names(&router), [second]);
    router.finish().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nameserver_that_fails_is_slow_or_lies_takes_no_server_away() {
    let (dnsd, port) = (Nameserver::start().await, Port::free());
    let gpu = server((ip(1), port.number()).into()).await;
    dnsd.host(NAME, [ip(1)]);
    let plan = Plan::servers(0)
        .set(&dns(port.number()))
        .set(&dnsd.setting());
    let router = plan.start().await;
    let moods = [
        Mood::Fails,
        Mood::Silent,
        Mood::Slow(Duration::from_secs(40)),
        Mood::Lies,
    ];
    for mood in moods {
        dnsd.is(mood);
        is_shown(&router, "error").await;
        let answer = router.post("/api/chat", &chat()).await;
        assert_eq!(answer.status, 200, "{mood:?}: {}", answer.text());
        let metrics = router.get("/metrics").await;
        let failing = format!(
            "herdsman_discovery_failing{{place=\"{NAME}:{}\"}} 1",
            port.number()
        );
        assert!(metrics.text().contains(&failing), "{mood:?}");
        dnsd.is(Mood::Answers);
        is_shown(&router, "ok").await;
    }
    // Neither does one that knows nothing, for a while.
    dnsd.host(NAME, []);
    is_shown(&router, "error").await;
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    router.finish().await;
    gpu.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nameserver_that_does_not_answer_holds_up_neither_the_start_nor_other_servers() {
    let dnsd = Nameserver::start().await;
    dnsd.is(Mood::Silent);
    let plan = Plan::servers(1).set(&dns(11434)).set(&dnsd.setting());
    let began = Instant::now();
    let router = plan.start().await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_named_and_found_is_one_server_and_the_router_is_none() {
    let (dnsd, port, own) = (Nameserver::start().await, Port::free(), Port::free());
    let at = |last| SocketAddr::from((ip(last), port.number()));
    dnsd.host(NAME, [ip(1), ip(2), ip(3)]);
    dnsd.host("gpu-2.herd.test", [ip(2)]);
    dnsd.host("router.herd.test", [Ipv4Addr::LOCALHOST]);
    let named = |name: &str, url: &str| Endpoint {
        name: name.to_owned(),
        ..Endpoint::at(url.parse().unwrap())
    };
    let by_host = format!("http://gpu-2.herd.test:{}", port.number());
    let plan = Plan::servers(0)
        .and(named("by-address", &format!("http://{}", at(1))))
        .and(named("by-host", &by_host))
        .set(&format!(
            "discovery.dns=[\"http://{NAME}:{}\",\"http://router.herd.test:{}\"]",
            port.number(),
            own.number(),
        ))
        .set(&format!("server.listen={}", own.addr()))
        .set(&dnsd.setting());
    let router = plan.start().await;
    let third = at(3).to_string();
    let mut expected = vec![third.clone(), "by-address".to_owned(), "by-host".to_owned()];
    expected.sort();
    assert_eq!(names(&router), expected);

    let add = |url: String| json!({"name": "again", "url": url});
    let known = add(format!("http://{third}"));
    let refused = router.admin(Method::POST, "/admin/endpoints", known).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let path = format!("/admin/endpoints/{third}");
    let change = json!({"weight": 2.0});
    for (method, body) in [(Method::PATCH, change), (Method::DELETE, Value::Null)] {
        let refused = router.admin(method, &path, body).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("[discovery]"), "{}", refused.text());
    }
    let drain = json!({"phase": "draining"});
    let drained = router.admin(Method::PATCH, &path, drain).await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_with_thousands_of_addresses_has_a_bounded_number_of_servers() {
    let (dnsd, closed) = (Nameserver::start().await, Port::free());
    let all = (0..4_000_u16).map(|i| {
        let [high, low] = i.to_be_bytes();
        Ipv4Addr::new(127, 9, high, low)
    });
    dnsd.host(NAME, all);
    let plan = Plan::servers(1)
        .set(&dns(closed.number()))
        .set(&dnsd.setting());
    let router = plan.start().await;
    assert_eq!(names(&router).len(), 257);
    let place = place(&router).await;
    assert_eq!(place["servers"], 256);
    let detail = place["detail"].as_str().unwrap();
    assert!(detail.starts_with("3744 further addresses"), "{detail}");
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_service_say_ports_priorities_and_weights() {
    let dnsd = Nameserver::start().await;
    let ports = [Port::free(), Port::free(), Port::free()];
    let number = |i: usize| ports[i].number();
    let service = "_ollama._tcp.herd.test";
    dnsd.host("a.herd.test", [ip(1)]);
    dnsd.host("b.herd.test", [ip(2)]);
    let records = [
        (0, 30, number(0), "a.herd.test"),
        (0, 10, number(1), "a.herd.test"),
        (7, 20, number(2), "b.herd.test"),
    ];
    dnsd.service(service, &records);
    let gpu = server((ip(1), number(0)).into()).await;
    let plan = Plan::servers(0)
        .set(&format!("discovery.srv=[\"{service}\"]"))
        .set(&dnsd.setting());
    let router = plan.start().await;
    for (last, port, weight, priority) in [(1, 0, 1.5, 0), (1, 1, 0.5, 0), (2, 2, 1.0, 7)] {
        let name = format!("{}:{}", ip(last), number(port));
        let shown = router.get(&format!("/admin/endpoints/{name}")).await.json();
        let said = [&shown["weight"], &shown["priority"], &shown["labels"]];
        assert_eq!(said, [&json!(weight), &json!(priority), &json!([service])]);
    }
    is_up(&router, &format!("{}:{}", ip(1), number(0))).await;
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // One of its hosts is not known any more: the others stay, and so does it, for a moment.
    dnsd.service(service, &records[..1]);
    eventually("the others have left", || names(&router).len() == 1).await;
    // "Decidedly not available".
    dnsd.service(service, &[(0, 0, 0, "")]);
    is_shown(&router, "error").await;
    assert_eq!(names(&router).len(), 1, "for a while");
    router.finish().await;
    gpu.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_servers_counts_when_it_is_whole_and_stays_when_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    let (one, two) = (Port::free(), Port::free());
    let gpus = [
        server((ip(1), one.number()).into()).await,
        server((ip(2), two.number()).into()).await,
    ];
    let block = |i: usize| {
        let url = gpus[i].url();
        format!("[[endpoint]]\nurl = \"{url}\"\nname = \"gpu-{i}\"\nlabels = [\"fast\"]\n")
    };
    let plan = Plan::servers(0).set(&format!("discovery.file={}", file.display()));
    let router = plan.start().await;
    assert_eq!(place(&router).await["status"], "error", "it is missing");
    assert!(names(&router).is_empty());

    let began = Instant::now();
    fs::write(&file, block(0)).unwrap();
    is_up(&router, "gpu-0").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let shown = router.get("/admin/endpoints/gpu-0").await.json();
    assert_eq!(
        [&shown["source"], &shown["labels"]],
        [&json!("config"), &json!(["fast"])]
    );
    assert_eq!(place(&router).await["status"], "ok");

    let wrong = [
        "[[endpoint]]\nurl = \"http://gp".to_owned(),
        format!("{}weight = -1.0\n", block(1)),
        format!("{}\n[server]\ngrace = \"1s\"\n", block(1)),
        String::new(),
    ];
    for text in wrong {
        fs::write(&file, &text).unwrap();
        is_shown(&router, "error").await;
        assert_eq!(names(&router), ["gpu-0"], "{text}");
        fs::write(&file, format!("{}# {}\n", block(0), text.len())).unwrap();
        is_shown(&router, "ok").await;
    }
    fs::remove_file(&file).unwrap();
    is_shown(&router, "error").await;
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    fs::write(&file, block(1)).unwrap();
    is_up(&router, "gpu-1").await;
    assert_eq!(names(&router), ["gpu-1"]);
    fs::write(&file, "# none\n").unwrap();
    eventually("none is there", || names(&router).is_empty()).await;
    router.finish().await;
    for gpu in gpus {
        gpu.stop().await;
    }
}

/// An address of this machine that others could reach, if it has any.
fn outward() -> Option<IpAddr> {
    // Nothing is sent; the address is set aside for documents.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.4:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_offers_itself_on_the_network_is_shown_and_used_when_it_was_taken() {
    let Some(ip) = outward() else {
        return;
    };
    let port = Port::free();
    let gpu = server((ip, port.number()).into()).await;
    let name = format!("gpu-{}", port.number());
    let url = format!("http://{ip}:{}", port.number());
    let mut offered = crate::registered::options(&name, &url, &[]);
    offered.announce = true;
    let agent = Agent::start(offered);
    let router = Plan::servers(0).set("discovery.mdns=true").start().await;
    let offered = async |router: &TestRouter| {
        let all = router.get("/admin/endpoints").await.json();
        let offered = all["offered"].as_array().unwrap().clone();
        let mut offered = offered.into_iter();
        offered.find(|offer| offer["name"] == *name)
    };
    let deadline = Instant::now() + crate::support::TEST_TIMEOUT;
    let offer = loop {
        if let Some(offer) = offered(&router).await {
            break offer;
        }
        assert!(Instant::now() < deadline, "never heard");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(offer["url"], format!("http://{ip}:{}", port.number()));
    assert!(names(&router).is_empty(), "without consent");
    let unknown = json!({"name": "nobody"});
    let refused = router
        .admin(Method::POST, "/admin/endpoints", unknown)
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text());

    let take = json!({"name": name, "labels": ["lan"]});
    let taken = router.admin(Method::POST, "/admin/endpoints", take).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(taken.json()["source"], "admin");
    let began = Instant::now();
    is_up(&router, &name).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(offered(&router).await, None, "it is used");
    // It says that it goes, and is kept all the same: an operator wants it.
    agent.stop().await.unwrap();
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    router.finish().await;
    gpu.stop().await;
}
