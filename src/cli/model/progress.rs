//! A pull or push as it proceeds: bars on a terminal, else a line whenever something else is done.
//!
//! The bars are those of the layers, over all servers, and, of a pull on several, one for each server: how far
//! each is the router says to whoever may ask for its pulls.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::output::{self, Output};

const BAR: &str = "{msg:24} {bar:30} {bytes:>10} of {total_bytes:>10} {bytes_per_sec:>12} {eta:>5}";
const WAIT: &str = "{spinner} {msg}";
const SERVER: &str = "{msg:24} {bar:30} {bytes:>10} of {total_bytes:>10}";
const TICK: Duration = Duration::from_millis(100);
/// How often the servers' own bars move.
const SERVERS: Duration = Duration::from_millis(500);
/// The pulls of a router, by server.
const PULLS: &str = "/admin/pulls";

/// Asks for it and shows how it proceeds. Fails when the last line is an error, or is missing.
pub(super) async fn follow(
    client: &Client,
    path: &str,
    body: &Value,
    output: Output,
) -> Result<(), Failure> {
    let mut lines = client.lines(path, body).await?;
    let mut shown: Box<dyn Show> = if output.is_json() {
        Box::new(Raw)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Words::default())
    };
    let mut last = String::new();
    let mut ticks = interval(SERVERS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            line = lines.next() => {
                let Some(line) = line? else { break };
                shown.line(&line)?;
                let status = line["status"].as_str().unwrap_or_default();
                status.clone_into(&mut last);
            }
            _ = ticks.tick(), if shown.has_room_for_servers() => {
                // Who may not see them pulls all the same.
                if let Ok(pulls) = client.get(PULLS).await {
                    shown.servers(&pulls, &body["model"]);
                }
            }
        }
    }
    if last == "success" {
        return Ok(());
    }
    Err(Failure::to("do it")("the router has not said how it ended"))
}

/// One way of showing it.
trait Show: Send {
    fn line(&mut self, line: &Value) -> Result<(), Failure>;

    /// Whether it shows how far each server is.
    fn has_room_for_servers(&self) -> bool {
        false
    }

    /// How far each is with the pull of this model.
    fn servers(&mut self, _pulls: &Value, _model: &Value) {}
}

/// As it comes.
struct Raw;

impl Show for Raw {
    fn line(&mut self, line: &Value) -> Result<(), Failure> {
        output::print(&line.to_string())
    }
}

/// Each status once.
#[derive(Default)]
struct Words {
    said: String,
}

impl Show for Words {
    fn line(&mut self, line: &Value) -> Result<(), Failure> {
        let status = line["status"].as_str().unwrap_or_default();
        if status == self.said {
            return Ok(());
        }
        status.clone_into(&mut self.said);
        output::print(status)
    }
}

/// A bar for each layer, and a line for what has no size.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    layers: HashMap<String, ProgressBar>,
    servers: HashMap<String, ProgressBar>,
    step: Option<ProgressBar>,
}

impl Show for Bars {
    fn line(&mut self, line: &Value) -> Result<(), Failure> {
        let status = line["status"].as_str().unwrap_or_default();
        match (line["digest"].as_str(), line["total"].as_u64()) {
            (Some(digest), Some(total)) => {
                let done = line["completed"].as_u64().unwrap_or_default();
                let bar = self.layer(digest, status);
                bar.set_length(total);
                bar.set_position(done);
            }
            _ => self.step(status),
        }
        Ok(())
    }

    fn has_room_for_servers(&self) -> bool {
        true
    }

    fn servers(&mut self, pulls: &Value, model: &Value) {
        let mut pulls = pulls["pulls"].as_array().into_iter().flatten();
        let pull = pulls.rfind(|pull| pull["model"] == *model);
        let servers = pull.and_then(|pull| pull["endpoints"].as_array());
        let Some(servers) = servers.filter(|servers| servers.len() > 1) else {
            return;
        };
        for server in servers {
            let name = server["endpoint"].as_str().unwrap_or_default();
            let bar = self.server(name);
            bar.set_length(server["total"].as_u64().unwrap_or_default());
            bar.set_position(server["completed"].as_u64().unwrap_or_default());
        }
    }
}

impl Bars {
    fn layer(&mut self, digest: &str, status: &str) -> &ProgressBar {
        self.layers.entry(digest.to_owned()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            bar.set_style(style(BAR));
            bar.with_message(status.to_owned())
        })
    }

    fn server(&mut self, name: &str) -> &ProgressBar {
        self.servers.entry(name.to_owned()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            bar.set_style(style(SERVER));
            bar.with_message(name.to_owned())
        })
    }

    fn step(&mut self, status: &str) {
        if let Some(done) = self.step.take() {
            done.finish();
        }
        let step = self.all.add(ProgressBar::new_spinner());
        step.set_style(style(WAIT));
        step.set_message(status.to_owned());
        step.enable_steady_tick(TICK);
        self.step = Some(step);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let bars = self.layers.values().chain(self.servers.values());
        bars.chain(&self.step).for_each(ProgressBar::abandon);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
