//! Who shares the database: routers, agents of servers, workers.

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{Outcome, Route, answer};
use crate::http::State;
use crate::registrar::{RouterFacts, View};
use crate::store::{InstanceKind, InstanceRow};

/// Who has registered. Ages are by the clock of the database.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Cluster")]
struct Shown {
    registry: RegistryShown,
    /// Those that are there.
    routers: Vec<RouterShown>,
    agents: Vec<AgentShown>,
    /// Of DB-GPT: listed, and not sent to.
    workers: Vec<WorkerShown>,
}

/// The database, as far as it says who is there.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct RegistryShown {
    /// It was read a moment ago.
    available: bool,
    /// Why not.
    why: Option<String>,
    /// How long ago it was read.
    age_ms: Option<i64>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct RouterShown {
    /// This run of it; `x-herdsman-instance` of its answers.
    run: String,
    listen: String,
    version: String,
    /// It accounts together with others.
    redis: bool,
    /// It is the one that answers.
    this: bool,
    age_ms: i64,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct AgentShown {
    name: String,
    url: String,
    alive: bool,
    /// Grows whenever the agent was started anew.
    incarnation: i64,
    age_ms: i64,
    /// What it says of its server and of the machine.
    facts: Value,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct WorkerShown {
    model_name: String,
    host: String,
    port: u16,
    alive: bool,
    age_ms: i64,
}

pub(super) fn routes() -> Vec<Route> {
    let summary = "Shows who shares the database: routers, agents of servers, workers of DB-GPT";
    vec![Route::get("/admin/cluster", summary, show).gives::<Shown>()]
}

async fn show(Shared(state): Shared<State>) -> Outcome {
    let shown = Shown::new(&state.registrar.view(), Instant::now());
    Ok(answer(StatusCode::OK, &shown))
}

impl Shown {
    fn new(view: &View, now: Instant) -> Self {
        let routers = view.of(InstanceKind::Router).filter(|row| row.is_alive());
        let agents = view.of(InstanceKind::Agent);
        let workers = view.of(InstanceKind::Worker);
        let read = view.read_at.map(|at| now.saturating_duration_since(at));
        Self {
            registry: RegistryShown {
                available: view.away.is_none() && read.is_some(),
                why: view.away.clone(),
                age_ms: read.map(crate::registrar::millis),
            },
            routers: routers.map(|row| router(row, view, now)).collect(),
            agents: agents.map(|row| agent(row, view, now)).collect(),
            workers: workers.map(|row| worker(row, view, now)).collect(),
        }
    }
}

fn router(row: &InstanceRow, view: &View, now: Instant) -> RouterShown {
    let facts: RouterFacts = serde_json::from_str(&row.facts).unwrap_or_default();
    RouterShown {
        this: *row.run == *view.identity.run,
        run: row.run.clone(),
        listen: facts.listen,
        version: facts.version,
        redis: facts.shares,
        age_ms: view.age_ms(row, now),
    }
}

fn agent(row: &InstanceRow, view: &View, now: Instant) -> AgentShown {
    AgentShown {
        name: row.key.name.clone(),
        url: row.url.clone(),
        alive: row.is_alive(),
        incarnation: row.incarnation,
        age_ms: view.age_ms(row, now),
        facts: serde_json::from_str(&row.facts).unwrap_or_default(),
    }
}

fn worker(row: &InstanceRow, view: &View, now: Instant) -> WorkerShown {
    WorkerShown {
        model_name: row.key.name.clone(),
        host: row.key.host.clone(),
        port: row.key.port,
        alive: row.is_alive(),
        age_ms: view.age_ms(row, now),
    }
}
