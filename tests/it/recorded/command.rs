//! The calls of the `ollama` command, recorded while it ran against one Ollama, made again.
//!
//! Of the answers only the status was recorded. So the rest is compared with what one simulated server answers
//! that is asked the same.

use std::collections::{BTreeMap, BTreeSet};

use herdsman_simulator::Model;
use serde::Deserialize;

use super::call::Call;
use super::{LISTED, plan, shape};
use crate::support::{Answer, TestRouter};

/// What a command is, the calls it makes, and what each got: one a line, in this order.
const RECORDED: &str = include_str!("../../data/ollama_cli_recorded.jsonl");

/// The one model that the recorded command could pull, from a registry beside the server.
const OFFERED: &str = "127.0.0.1:5005/a/tiny2";

/// How many there are.
const CALLS: usize = 44;

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Command {
        command: String,
    },
    Request {
        method: String,
        path: String,
        headers: BTreeMap<String, String>,
        body: Option<String>,
    },
    Answer {
        status: u16,
        #[serde(rename = "for")]
        path: String,
    },
}

/// A call, and the command that made it.
struct Step {
    command: String,
    call: Call,
}

impl Step {
    fn name(&self) -> String {
        format!("`{}`: {}", self.command, self.call.name())
    }
}

/// All of them.
fn steps() -> Vec<Step> {
    let (mut steps, mut asked, mut running) = (Vec::new(), None, String::new());
    for line in RECORDED.lines() {
        match serde_json::from_str(line).unwrap() {
            Line::Command { command } => running = command,
            Line::Request {
                method,
                path,
                headers,
                body,
            } => asked = Some((method, path, headers, body)),
            Line::Answer { status, path: of } => {
                let (method, path, headers, body) = asked.take().unwrap();
                assert_eq!(path, of);
                steps.push(Step {
                    command: running.clone(),
                    call: Call {
                        n: u32::try_from(steps.len()).unwrap() + 1,
                        method,
                        path,
                        request: None,
                        request_raw: body,
                        request_headers: headers,
                        status,
                        content_type: None,
                        location: None,
                        answer: String::new(),
                    },
                });
            }
        }
    }
    steps
}

async fn herd(servers: usize) -> TestRouter {
    let herd = plan(servers).each(|server| {
        server.registry = Some(vec![Model::named(OFFERED)]);
    });
    herd.start().await
}

/// What each call gets under this address; panics where that is not what was recorded.
async fn answers(router: &TestRouter, url: &str) -> Vec<(Step, Answer)> {
    let (mut answers, mut unlike) = (Vec::new(), Vec::new());
    for step in steps() {
        let answer = step.call.make(router, url).await;
        let difference = shape::difference(&step.call, &answer);
        unlike.extend(difference.map(|what| format!("{}: {what}: {answer:?}", step.name())));
        answers.push((step, answer));
    }
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    answers
}

/// The commands that are listed as getting something else from the router.
fn listed() -> BTreeSet<&'static str> {
    let rows = LISTED.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split("` |").next());
    let commands = cells.flat_map(|cell| cell.split("`, `"));
    commands
        .filter(|text| text.starts_with("ollama "))
        .collect()
}

#[tokio::test]
async fn the_ollama_command_gets_from_the_router_what_it_got_from_one_server() {
    let alone = herd(1).await;
    let single = answers(&alone, &alone.servers[0].url()).await;
    alone.finish().await;

    let router = herd(3).await;
    let routed = answers(&router, &router.url()).await;
    router.finish().await;

    assert_eq!(single.len(), CALLS);
    let pairs = single.iter().zip(&routed);
    let unlike = pairs.filter_map(|((step, single), (_, routed))| {
        let difference = shape::unlike(routed, single)?;
        Some((
            step.command.as_str(),
            format!("{}: {difference}", step.name()),
        ))
    });
    let unlike: BTreeMap<_, _> = unlike.collect();
    let commands: BTreeSet<_> = unlike.keys().copied().collect();
    assert_eq!(commands, listed(), "{unlike:#?}");
}
