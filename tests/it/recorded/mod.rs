//! The calls recorded from a real Ollama, made again: to a simulated server, and to the router before
//! one. `docs/compatibility.md` lists what is answered otherwise, and why; the list is held here.

mod call;
mod command;
mod shape;

use std::collections::BTreeMap;

use herdsman_simulator::Model;

use crate::support::Plan;

/// Where differences are listed: rows of a table that begin with the number of a call, or with a command.
const LISTED: &str = include_str!("../../../docs/compatibility.md");

/// Empty servers behind a router that asks them by itself for what they have no more than once.
fn plan(servers: usize) -> Plan {
    let plan = Plan::servers(servers).set("fleet.models_interval=1h");
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
    let router = plan(1).start().await;
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
    let router = plan(1).start().await;
    let url = router.url();
    let mut unlike = BTreeMap::new();
    let mut made = 0;
    for call in call::all() {
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
