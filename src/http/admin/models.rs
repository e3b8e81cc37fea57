//! The models: where each one is, and loading and unloading it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use futures_util::future::join_all;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{InPath, Object, Outcome, Problem, Route, answer};
use crate::backend::KeepOptions;
use crate::domain::{KeepAlive, ModelName};
use crate::fleet::Place;
use crate::gateway::{LoadReason, NotPlaced};
use crate::http::State;
use crate::protocol::unix_seconds;

const ALL: &str = "/admin/models";
const LOAD: &str = "/admin/models/{name}/load";
const UNLOAD: &str = "/admin/models/{name}/unload";

/// Every model that a server has.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Models")]
struct Shown {
    models: Vec<ModelShown>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct ModelShown {
    model: ModelText,
    /// The servers that have it.
    endpoints: Vec<PlaceShown>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct PlaceShown {
    endpoint: Arc<str>,
    /// `loaded`, `loading`, `listed` (it has it on disk), or `down`.
    state: &'static str,
    /// Until when it stays loaded if nothing uses it; null where the server does not say.
    until: Option<i64>,
    /// Bytes of graphics memory it takes.
    size: Option<u64>,
    context_length: Option<u64>,
    in_flight: u32,
    slots: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ModelLoad")]
#[derive(Default)]
struct Load {
    /// The servers, by name; without them the best one, or as many as `replicas` says.
    endpoints: Vec<String>,
    /// On so many servers, those that have it loaded included.
    replicas: Option<usize>,
    /// For how long, as Ollama takes it: seconds, or a text such as `1h`; below zero for ever.
    keep_alive: Option<Kept>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Kept {
    Seconds(i64),
    Text(String),
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ModelUnload")]
struct Unload {
    /// The servers, by name; without them all that have it.
    endpoints: Vec<String>,
}

/// What happened on each server.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelPlaced")]
struct Placed {
    model: ModelText,
    endpoints: Vec<PlacedOn>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct PlacedOn {
    endpoint: Arc<str>,
    /// How long it took.
    ms: u64,
    /// Why it was not done; not there where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A model's name.
type ModelText = Arc<str>;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(ALL, "Shows every model and the servers that have it", show).gives::<Shown>(),
        Route::post(
            LOAD,
            "Loads a model on servers, and answers when that is done",
            load,
        )
        .takes::<Load>()
        .gives::<Placed>()
        .tells("load model"),
        Route::post(
            UNLOAD,
            "Unloads a model from servers, and answers when they have been told",
            unload,
        )
        .takes::<Unload>()
        .gives::<Placed>()
        .tells("unload model"),
    ]
}

async fn show(Shared(state): Shared<State>) -> Outcome {
    let view = state.gateway.fleet().settled_view().await;
    let models = view.model_names().into_iter().map(|model| {
        let mut places = view.places(&model);
        places.sort_by(|a, b| a.endpoint.name().cmp(b.endpoint.name()));
        ModelShown {
            model: model.shared(),
            endpoints: places.iter().map(shown).collect(),
        }
    });
    let models = models.collect();
    Ok(answer(StatusCode::OK, &Shown { models }))
}

async fn load(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    Object(object): Object,
) -> Outcome {
    let asked: Load = read(object)?;
    let (model, mut places) = places(&state, &name)?;
    let terms = state.gateway.terms(&model);
    let wanted = match (asked.endpoints.is_empty(), asked.replicas) {
        (_, Some(replicas)) => replicas,
        (true, None) => 1,
        (false, None) => usize::MAX,
    };
    let within = terms.as_ref().and_then(|terms| terms.within.as_deref());
    if asked.endpoints.is_empty() {
        places.retain(|place| {
            place.is_up && place.loads && within.is_none_or(|names| place.is_one_of(names))
        });
    } else {
        places = named(places, &asked.endpoints, &model)?;
    }
    places.truncate(wanted);
    if places.is_empty() && wanted > 0 {
        return Err(Problem::conflict(format!(
            "no server that has {model} can load it now"
        )));
    }
    let keep_alive = match asked.keep_alive {
        Some(kept) => Some(keep_alive(kept)?),
        None => terms.as_ref().and_then(|terms| terms.keep_alive.clone()),
    };
    let options = KeepOptions {
        keep_alive: keep_alive.as_ref().map(KeepAlive::json),
        num_ctx: terms.and_then(|terms| terms.num_ctx).map(u64::from),
    };
    let loads = places.iter().map(async |place| {
        let begun = Instant::now();
        let gateway = &state.gateway;
        let loaded = gateway
            .load_on(place, options.clone(), LoadReason::Asked)
            .await;
        placed(place, begun, loaded)
    });
    let endpoints = join_all(loads).await;
    let model = model.shared();
    Ok(answer(StatusCode::OK, &Placed { model, endpoints }))
}

async fn unload(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    Object(object): Object,
) -> Outcome {
    let asked: Unload = read(object)?;
    let (model, mut places) = places(&state, &name)?;
    if asked.endpoints.is_empty() {
        places.retain(|place| place.loads && (place.is_loaded || place.is_loading));
    } else {
        places = named(places, &asked.endpoints, &model)?;
    }
    let unloads = places.iter().map(async |place| {
        let begun = Instant::now();
        placed(place, begun, state.gateway.unload_on(place).await)
    });
    let endpoints = join_all(unloads).await;
    let model = model.shared();
    Ok(answer(StatusCode::OK, &Placed { model, endpoints }))
}

fn places(state: &State, name: &str) -> Result<(ModelName, Vec<Place>), Problem> {
    let model = ModelName::parse_any(name).ok();
    let places = |model: &ModelName| state.gateway.fleet().view().places(model);
    model
        .map(|model| (places(&model), model))
        .filter(|(places, _)| !places.is_empty())
        .map(|(places, model)| (model, places))
        .ok_or_else(|| Problem::missing(format!("model '{name}' not found")))
}

/// Those of these names, in their order.
fn named(places: Vec<Place>, names: &[String], model: &ModelName) -> Result<Vec<Place>, Problem> {
    let mut asked: Vec<&String> = Vec::new();
    for name in names {
        if !asked.contains(&name) {
            asked.push(name);
        }
    }
    let of = |name: &String| {
        let mut places = places.iter();
        let found = places.find(|place| **place.endpoint.name() == **name);
        found.cloned().ok_or_else(|| {
            Problem::missing(format!("no server named \"{name}\" has the model {model}"))
        })
    };
    asked.into_iter().map(of).collect()
}

fn keep_alive(asked: Kept) -> Result<KeepAlive, Problem> {
    let written = match asked {
        Kept::Seconds(seconds) => seconds.to_string(),
        Kept::Text(text) => text,
    };
    KeepAlive::parse(&written).map_err(|_| {
        let text = "keep_alive must be seconds, or text such as \"30m\", of at least a second, or below \
                    zero, which is for ever: to unload is another call";
        Problem::wrong(text)
    })
}

fn placed(place: &Place, begun: Instant, done: Result<Duration, NotPlaced>) -> PlacedOn {
    let took = done.as_ref().map_or_else(|_| begun.elapsed(), |took| *took);
    PlacedOn {
        endpoint: Arc::clone(place.endpoint.name()),
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        error: done.err().map(|error| error.to_string()),
    }
}

fn shown(place: &Place) -> PlaceShown {
    let running = place.running.as_ref();
    PlaceShown {
        endpoint: Arc::clone(place.endpoint.name()),
        state: match place {
            Place { is_up: false, .. } => "down",
            Place {
                is_loading: true, ..
            } => "loading",
            Place {
                is_loaded: true, ..
            } => "loaded",
            _ => "listed",
        },
        until: running.and_then(|running| unix_seconds(&running.expires_at)),
        size: running.map(|running| running.size_vram),
        context_length: running.and_then(|running| running.context_length),
        in_flight: place.pool.in_flight(),
        slots: place.pool.slots(),
    }
}

fn read<T: serde::de::DeserializeOwned>(object: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(object)).map_err(|error| Problem::wrong(error.to_string()))
}
