//! The Redis databases: which one is used, and how the others are.

use std::time::Duration;

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::{InPath, Object, Outcome, Problem, Route, answer};
use crate::http::State;
use herdsman_multidb::{CircuitState, DatabaseId, DatabaseStatus, Error, Metrics, MultiDb};

const ALL: &str = "/admin/redis";
const ACTIVE: &str = "/admin/redis/{id}/active";
const WEIGHT: &str = "/admin/redis/{id}/weight";

/// The Redis databases of this router. Times are seconds ago.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Redis")]
struct Shown {
    /// The id of the database that is used.
    active: Option<u64>,
    active_for: f64,
    databases: Vec<DatabaseShown>,
    /// Commands repeated after a failure.
    retries: u64,
    /// Commands of which nobody knows whether they were carried out.
    outcomes_unknown: u64,
    /// Commands for which there was no database.
    unavailable: u64,
    /// Changes of the active database.
    switches: u64,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct DatabaseShown {
    id: u64,
    name: String,
    weight: f64,
    active: bool,
    circuit: &'static str,
    circuit_for: f64,
    connected: bool,
    failures: u64,
    /// What the last health check found.
    health: Option<HealthShown>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct HealthShown {
    ago: f64,
    healthy: bool,
    why: Option<String>,
    /// Why it is well and yet not returned to.
    failback_refused: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisActivation")]
struct Activate {
    /// Without asking the database whether it is well.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisWeight")]
struct Weigh {
    #[schemars(range(min = 0))]
    weight: f64,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            ALL,
            "Shows every Redis database and which one is used",
            show,
        )
        .gives::<Shown>(),
        Route::post(
            ACTIVE,
            "Uses this database from now on, if it is well; with `force` in any case",
            activate,
        )
        .takes::<Activate>()
        .gives::<Shown>()
        .tells("use Redis database"),
        Route::put(
            WEIGHT,
            "Changes how much a database is wanted; counts at once",
            weigh,
        )
        .takes::<Weigh>()
        .gives::<Shown>()
        .tells("weigh Redis database"),
    ]
}

async fn show(Shared(state): Shared<State>) -> Outcome {
    Ok(shown(client(&state)?))
}

async fn activate(
    Shared(state): Shared<State>,
    InPath(id): InPath<u64>,
    Object(object): Object,
) -> Outcome {
    let asked: Activate = read(object)?;
    let (redis, id) = (client(&state)?, DatabaseId::from(id));
    if asked.force {
        redis.force_active_database(id).await?;
    } else {
        redis.set_active_database(id).await?;
    }
    Ok(shown(redis))
}

async fn weigh(
    Shared(state): Shared<State>,
    InPath(id): InPath<u64>,
    Object(object): Object,
) -> Outcome {
    let Weigh { weight } = read(object)?;
    let redis = client(&state)?;
    redis
        .update_database_weight(DatabaseId::from(id), weight)
        .await?;
    Ok(shown(redis))
}

fn client(state: &State) -> Result<&MultiDb, Problem> {
    let none = || Problem::missing("this router has no [redis]: it is one process on its own");
    state.redis.as_ref().ok_or_else(none)
}

fn read<T: serde::de::DeserializeOwned>(
    object: serde_json::Map<String, Value>,
) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(object)).map_err(|error| Problem::wrong(error.to_string()))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownDatabase(_) => Self::missing(error.to_string()),
            Error::Invalid(_) => Self::wrong(error.to_string()),
            _ => Self::conflict(error.to_string()),
        }
    }
}

fn shown(redis: &MultiDb) -> axum::response::Response {
    let (status, metrics, now) = (redis.status(), redis.metrics(), Instant::now());
    let ago = |at: Instant| seconds(now.saturating_duration_since(at));
    let database = |database: &DatabaseStatus| DatabaseShown {
        id: database.database.id.get(),
        name: database.database.name.to_string(),
        weight: database.weight,
        active: database.active,
        circuit: circuit(database.circuit),
        circuit_for: ago(database.circuit_since),
        connected: database.connected,
        failures: database.failures,
        health: database.last_health.as_ref().map(|health| HealthShown {
            ago: ago(health.at),
            healthy: health.unhealthy.is_none(),
            why: health.unhealthy.clone(),
            failback_refused: health.failback_refused.clone(),
        }),
    };
    let Metrics {
        retries,
        outcomes_unknown,
        unavailable,
        switches,
        ..
    } = metrics;
    let shown = Shown {
        active: status.active.map(DatabaseId::get),
        active_for: ago(status.since),
        databases: status.databases.iter().map(database).collect(),
        retries,
        outcomes_unknown,
        unavailable,
        switches: switches.iter().map(|(_, count)| count).sum(),
    };
    answer(StatusCode::OK, &shown)
}

fn circuit(state: CircuitState) -> &'static str {
    match state {
        CircuitState::Closed => "closed",
        CircuitState::Open => "open",
        CircuitState::HalfOpen => "half-open",
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
