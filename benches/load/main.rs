//! `cargo bench --profile dist --bench load`: what herdsman costs, compared with other proxies in
//! the same run.
//!
//! Three kinds of processes, all on loopback: the generator (the clients and their clock), the
//! contender (none, HAProxy, nginx or herdsman) and the responder (the Ollama servers). This file
//! is the orchestrator; it starts the others, reads the contender's CPU time and memory, and prints
//! one table. `docs/performance.md` says how to read it.
//!
//! It ends with 0 when every request was answered rightly, whether or not the aims are met.

mod campaign;
mod error;
mod figures;
mod generator;
mod measure;
mod plan;
mod process;
mod proxies;
mod report;
mod scenarios;
mod server;
mod smoke;
mod wire;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::error::{BenchError, Doing as _};
use crate::plan::Plan;
use crate::proxies::Contender;
use crate::report::Report;
use crate::scenarios::{Mode, Topic, programme};

/// Two sockets for each of the most streams a scenario opens, and some reserve.
const OPEN_FILES: u64 = 10_000;

/// Measures herdsman beside other proxies.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Under a minute, fewer and shorter runs
    #[arg(long)]
    quick: bool,
    /// Only these contenders
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Only these scenarios
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<Topic>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a child of the orchestrator does.
#[derive(Subcommand)]
enum Role {
    /// Be Ollama servers
    #[command(hide = true)]
    Server {
        /// How many
        #[arg(long)]
        ports: u16,
        /// With how many models each
        #[arg(long)]
        models: u64,
    },
    /// Be clients
    #[command(hide = true)]
    Generate {
        /// Of whom
        #[arg(long)]
        address: SocketAddr,
        /// Doing what
        #[arg(long, value_parser = |text: &str| serde_json::from_str::<Plan>(text))]
        plan: Plan,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match act(arguments).await {
        Ok(code) => code,
        Err(error) => {
            say(&format!("load: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn act(arguments: Arguments) -> Result<ExitCode, BenchError> {
    if let Some(role) = arguments.role {
        // Whatever happens to the orchestrator, no child of it is left running.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .doing("binding this process to its parent")?;
        match role {
            Role::Server { ports, models } => server::run(ports, models).await.doing("serving")?,
            Role::Generate { address, plan } => {
                generator::run(address, plan)
                    .await
                    .doing("generating load")?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let asked = arguments.bench || arguments.quick;
    if !asked && arguments.only.is_empty() && arguments.scenario.is_empty() {
        smoke::run().await?;
        say("load: the harness is fit; `cargo bench --profile dist --bench load` measures");
        return Ok(ExitCode::SUCCESS);
    }
    let mode = if arguments.quick {
        Mode::Quick
    } else {
        Mode::Full
    };
    measure(mode, &arguments.scenario, &arguments.only).await
}

async fn measure(mode: Mode, topics: &[Topic], only: &[Contender]) -> Result<ExitCode, BenchError> {
    allow_open_files()?;
    smoke::run().await?;
    let load_before = report::load_before();
    let mut measured = Vec::new();
    let until = Instant::now() + mode.budget();
    let mut terminate = signal(SignalKind::terminate()).doing("listening for signals")?;
    let campaign = campaign::conduct(
        programme(mode, topics, only),
        until,
        &mut measured,
        |scenario, lane, run| {
            say(&format!(
                "{}: {} ({} servers, {} models): {:.0} req/s, {} failed, {:.0} % of the machine \
                 elsewhere",
                scenario.topic.title(),
                lane.contender.name(),
                lane.endpoints,
                lane.models,
                run.outcome.requests as f64 / run.outcome.seconds,
                run.outcome.failures,
                run.foreign_share * 100.0,
            ));
        },
    );
    let ended = tokio::select! {
        ended = campaign => ended,
        _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
    };
    let report = Report::new(mode, load_before, measured);
    let path = report.save()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", report.markdown(), path.display()).doing("printing the report")?;
    ended?;
    Ok(if report.failures() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Programs are often given 1,024 descriptors and the right to take more; children inherit ours.
fn allow_open_files() -> Result<(), BenchError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Some(limit) = maximum.filter(|limit| *limit < OPEN_FILES) {
        return Err(BenchError::OpenFiles {
            needed: OPEN_FILES,
            limit,
        });
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .doing("raising a limit")
}

/// Progress goes to standard error: standard output is the report's.
fn say(words: &str) {
    // There is nowhere to report if this fails.
    drop(writeln!(std::io::stderr(), "{words}"));
}
