//! What clients can do through one router in front of three servers, all of it, and the table of it in
//! `docs/compatibility.md`. Run by `make compat`.

mod table;

use std::time::Duration;

use herdsman_simulator::{Model, Simulator};
use herdsman_test_support::{OpenWebui, clients};
use serde::Deserialize;
use tokio::process::Command;

use crate::support::{Plan, TestRouter, eventually};
use table::Column;

const MODEL: &str = "llama3.2:latest";
const EMBEDDER: &str = "all-minilm:latest";
/// Answers for so long that its clients leave before.
const TALKER: &str = "talker:latest";
/// A pull takes half a second, and tells of it eight times.
const PULL_BYTES_PER_SECOND: f64 = 4e9;

/// What a script says.
#[derive(Deserialize)]
struct Report {
    version: String,
    calls: table::Calls,
}

/// Two servers that chat, one of them older than the others, and one that embeds.
async fn herd() -> TestRouter {
    let plan = Plan::servers(3).each(|server| {
        server.models = vec![Model::named(MODEL), talker()];
        server.decode_interval = Duration::from_millis(2);
        server.pull_bytes_per_second = PULL_BYTES_PER_SECOND;
    });
    let plan = plan.server(1, |server| server.version = "0.12.5".to_owned());
    let plan = plan.server(2, |server| server.models = vec![Model::embedding(EMBEDDER)]);
    plan.start().await
}

fn talker() -> Model {
    Model {
        predict: Some(100_000),
        ..Model::named(TALKER)
    }
}

/// Answers that servers have given up because nobody read them.
fn given_up(router: &TestRouter) -> u64 {
    let counters = router.servers.iter().map(Simulator::counters);
    counters.map(|counters| counters.cancelled).sum()
}

/// What became of everything that one client does, or why nothing did.
async fn tried(router: &TestRouter, client: &str, script: Command) -> Result<Column, String> {
    let before = given_up(router);
    let url = router.url();
    let servers: Vec<_> = router.servers.iter().map(Simulator::url).collect();
    let mut arguments = vec![MODEL, EMBEDDER, TALKER, &url];
    arguments.extend(servers.iter().map(String::as_str));
    let report = clients::report(script, &arguments).await?;
    let report: Report = serde_json::from_value(report).map_err(|error| error.to_string())?;
    let column = Column::new(client, &report.version, report.calls);
    if column.has("abort") {
        eventually("a server stops when its reader has left", || {
            given_up(router) > before
        })
        .await;
    }
    Ok(column)
}

#[tokio::test]
async fn clients_do_everything_through_one_router() {
    let router = herd().await;
    let webui = OpenWebui::start(&router.url(), EMBEDDER);
    let mut columns = Vec::new();
    for (client, script) in [
        ("ollama-python", clients::python("compat/ollama_python.py")),
        ("ollama-js", clients::javascript("compat/ollama_js.mjs")),
        ("Open WebUI", webui.script("compat/open_webui.py")),
    ] {
        let column = tried(&router, client, script).await;
        columns.push(column.unwrap_or_else(|why| panic!("{client}: {why}\n{}", webui.log())));
    }
    table::write(&columns);
    let failed: Vec<_> = columns.iter().flat_map(Column::failed).collect();
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), webui.log());
    router.finish().await;
}
