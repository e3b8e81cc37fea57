//! The calls recorded from a real Ollama, made again: to a simulated server, and to the router before
//! one. `docs/compatibility.md` lists what is answered otherwise, and why; the list is held here.

mod call;
mod shape;

use std::collections::BTreeMap;

use herdsman_simulator::Model;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::{Plan, TEST_TIMEOUT, TestRouter};

/// Where differences are listed: rows of a table that begin with the number of a call.
const LISTED: &str = include_str!("../../../docs/compatibility.md");

/// An empty server behind a router that asks it often for what it has.
fn plan() -> Plan {
    let plan = Plan::servers(1).set("fleet.models_interval=100ms");
    plan.each(|server| {
        server.models = Vec::<Model>::new();
        server.parallel = 2;
    })
}

/// The numbers of the listed calls.
fn listed() -> Vec<u32> {
    let rows = LISTED.lines().filter_map(|line| line.strip_prefix("| "));
    let numbers = rows.filter_map(|row| row.split(" |").next());
    let numbers = numbers.flat_map(|cell| cell.split(", "));
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[tokio::test]
async fn a_simulated_server_answers_every_recorded_call_as_a_real_one_did() {
    let router = plan().start().await;
    let url = router.servers[0].url();
    let mut unlike = Vec::new();
    let calls = call::all();
    for call in &calls {
        let answer = call.make(&router, &url).await;
        let difference = shape::difference(call, &answer);
        unlike.extend(difference.map(|what| format!("{}: {what}", call.name())));
    }
    assert_eq!(calls.len(), 188);
    assert!(
        unlike.is_empty(),
        "{} of 188:\n{}",
        unlike.len(),
        unlike.join("\n")
    );
    router.finish().await;
}

#[tokio::test]
async fn the_router_answers_every_recorded_call_as_a_real_server_did_but_for_those_listed() {
    let router = plan().start().await;
    let (url, server) = (router.url(), router.servers[0].url());
    let mut unlike = BTreeMap::new();
    let (mut made, mut changed) = (0, false);
    for call in call::all() {
        // The router does not have these paths: they change what the server has.
        if call.manages() {
            call.make(&router, &server).await;
            changed = true;
            continue;
        }
        if std::mem::take(&mut changed) {
            lists_what_its_server_has(&router).await;
        }
        made += 1;
        let answer = call.make(&router, &url).await;
        if let Some(what) = shape::difference(&call, &answer) {
            unlike.insert(call.n, format!("{}: {what}", call.name()));
        }
    }
    let listed = listed();
    let unlisted: Vec<_> = unlike.iter().filter(|(n, _)| !listed.contains(n)).collect();
    let unlisted: Vec<_> = unlisted.iter().map(|(_, what)| what.as_str()).collect();
    assert!(
        unlisted.is_empty(),
        "{} of {made}:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    let alike: Vec<_> = listed.iter().filter(|n| !unlike.contains_key(n)).collect();
    assert!(alike.is_empty(), "listed, but answered alike: {alike:?}");
    router.finish().await;
}

async fn lists_what_its_server_has(router: &TestRouter) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    let digests = |list: &Value| {
        let models = list["models"].as_array().unwrap().iter();
        let mut names: Vec<_> = models
            .map(|m| (m["name"].to_string(), m["digest"].to_string()))
            .collect();
        names.sort();
        names
    };
    let ask = http::Request::get(format!("{}/api/tags", router.servers[0].url()));
    let server = router
        .request(ask.body(Default::default()).unwrap())
        .await
        .whole()
        .await;
    while digests(&router.get("/api/tags").await.json()) != digests(&server.json()) {
        assert!(
            Instant::now() < deadline,
            "the router never lists {}",
            server.text()
        );
        sleep(std::time::Duration::from_millis(5)).await;
    }
}
