//! The servers: what is wanted of them, and how they are.
//!
//! Those of the configuration can be kept from new requests and let go on; all else about them is for the
//! file. Those that are added here are kept in the database.

use std::sync::Arc;

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::endpoint::{NewEndpoint, Shown};
use super::{Did, InPath, InQuery, Object, Outcome, Problem, Route, answer, patch};
use crate::config::{Endpoint, Secret};
use crate::domain::ModelName;
use crate::http::State;
use crate::inventory::{Change, Entry, Refused, Source};

const ALL: &str = "/admin/endpoints";
const ONE: &str = "/admin/endpoints/{name}";
const DRAIN: &str = "/admin/endpoints/{name}/drain";
const RESUME: &str = "/admin/endpoints/{name}/resume";

/// Every server.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "EndpointList")]
struct Listed {
    endpoints: Vec<Shown>,
    /// Servers that offer themselves on the local network, and are not used: added by their name.
    offered: Vec<Offered>,
}

/// A server that offers itself.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Offered {
    name: String,
    url: String,
}

/// What of a server is meant: all of it, or one model.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "EndpointPart")]
struct Part {
    /// This model only.
    model: Option<String>,
}

/// How a server is taken out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// Answers that have begun there end with an error.
    #[serde(default)]
    now: bool,
}

/// A server that was taken out.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "EndpointGone")]
struct Gone {
    deleted: String,
    /// Requests that still run there.
    in_flight: u32,
}

/// What is to be other of a server.
#[derive(JsonSchema)]
#[schemars(rename = "EndpointPatch")]
#[expect(
    dead_code,
    reason = "the phase is read before the rest, whose unknown names are refused"
)]
struct Patch {
    #[serde(flatten)]
    endpoint: NewEndpoint,
    /// `draining`: it takes nothing new; `up`: it does again.
    phase: Option<Phase>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Phase {
    Draining,
    Up,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(ALL, "Lists the servers, and how they are", list).gives::<Listed>(),
        Route::post(
            ALL,
            "Adds a server; it is kept, and there again after a restart",
            add,
        )
        .takes::<NewEndpoint>()
        .gives::<Shown>()
        .tells("add server"),
        Route::get(ONE, "Shows one server", show).gives::<Shown>(),
        Route::patch(
            ONE,
            "Changes what is said of a server that was added, keeps the rest; of any, whether it takes requests",
            change,
        )
        .takes::<Patch>()
        .gives::<Shown>()
        .tells("change server"),
        Route::delete(
            ONE,
            "Takes out a server that was added; what runs there goes on to its end, unless `now=true`",
            remove,
        )
        .query(&["now"])
        .gives::<Gone>()
        .tells("remove server"),
        Route::post(
            DRAIN,
            "Keeps new requests from a server, or from one model on it, until it is resumed",
            drain,
        )
        .takes::<Part>()
        .gives::<Shown>()
        .tells("drain"),
        Route::post(
            RESUME,
            "Lets a server, or one model on it, take requests again",
            resume,
        )
        .takes::<Part>()
        .gives::<Shown>()
        .tells("resume"),
    ]
}

async fn list(Shared(state): Shared<State>) -> Outcome {
    let entries = state.inventory.entries();
    let observed = state.gateway.fleet().observed();
    let endpoints = observed
        .iter()
        .map(|server| {
            let named = |entry: &&Entry| *entry.endpoint.name == *server.id.name;
            let entry = entries.iter().find(named).filter(|_| !server.leaving);
            Shown::new(server, entry)
        })
        .collect();
    let offered = offers(&state).into_iter().map(|offer| Offered {
        name: offer.name,
        url: offer.url.to_string(),
    });
    let offered = offered.collect();
    Ok(answer(StatusCode::OK, &Listed { endpoints, offered }))
}

async fn show(Shared(state): Shared<State>, InPath(name): InPath<String>) -> Outcome {
    shown(&state, StatusCode::OK, &name)
}

/// What is offered and is none of the servers there are.
fn offers(state: &State) -> Vec<Endpoint> {
    let entries = state.inventory.entries();
    let known = |offer: &Endpoint| {
        let mut known = entries.iter().map(|entry| &entry.endpoint);
        known.any(|known| known.name == offer.name || known.address() == offer.address())
    };
    let mut offers = state.discovery.offers();
    offers.retain(|offer| !known(offer));
    offers
}

async fn add(Shared(state): Shared<State>, Object(mut object): Object) -> Outcome {
    // One that offers itself is known by its name.
    if !object.contains_key("url")
        && let Some(name) = object.get("name").and_then(Value::as_str)
        && let Some(offer) = offers(&state).iter().find(|offer| offer.name == name)
    {
        object.insert("url".to_owned(), offer.url.as_str().into());
    }
    let mut endpoint = read(object)?;
    if endpoint.name.is_empty() {
        endpoint.name = endpoint.url.host_and_port();
    }
    let name = endpoint.name.clone();
    make(&state, Change::Add(endpoint)).await?;
    tracing::info!(endpoint = name, "endpoint added by an operator");
    Ok(Did::to(&name).answered(shown(&state, StatusCode::CREATED, &name)?))
}

async fn change(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    Object(mut object): Object,
) -> Outcome {
    let phase = object.remove("phase").map(serde_json::from_value);
    let phase: Option<Phase> = phase
        .transpose()
        .map_err(|error| Problem::wrong(format!("phase: {error}")))?;
    if !object.is_empty() {
        let entry = entry(&state, &name)?;
        match entry.source {
            Source::Added => {}
            Source::Configured => return Err(Refused::Configured(name).into()),
            Source::Registered => return Err(Refused::Registered(name).into()),
            Source::Found => return Err(Refused::Found(name).into()),
        }
        let (endpoint, version) = (patched(&entry, object)?, entry.version);
        let set = Change::Set {
            name: name.clone(),
            endpoint,
            version,
        };
        make(&state, set).await?;
        tracing::info!(endpoint = name, "endpoint changed by an operator");
    }
    let did = match phase {
        Some(phase) => hold(&state, phase, &name, None).await?,
        None => Did::to(&name),
    };
    Ok(did.answered(shown(&state, StatusCode::OK, &name)?))
}

async fn remove(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    InQuery(asked): InQuery<Removal>,
) -> Outcome {
    let view = state.gateway.fleet().view();
    let all = view.servers.iter().map(|server| &server.endpoint);
    let named = all.filter(|endpoint| **endpoint.name() == *name);
    let named: Vec<Arc<_>> = named.cloned().collect();
    // One that was removed before finishes what runs, and now shall not.
    let hurries = asked.now
        && state.inventory.entry(&name).is_none()
        && named.iter().any(|endpoint| endpoint.is_draining());
    if !hurries {
        make(&state, Change::Remove(name.clone())).await?;
    }
    tracing::info!(
        endpoint = name,
        now = asked.now,
        "endpoint removed by an operator"
    );
    for endpoint in named.iter().filter(|_| asked.now) {
        // What has no answer yet moves to other servers.
        endpoint.abandon();
        let requests = state.gateway.requests();
        requests.cancel_on(endpoint.id().generation);
    }
    let observed = state.gateway.fleet().observed();
    let leaving = observed
        .iter()
        .filter(|server| server.leaving && *server.id.name == *name);
    let gone = Gone {
        in_flight: leaving.map(|server| server.in_flight).sum(),
        deleted: name,
    };
    Ok(answer(StatusCode::OK, &gone))
}

async fn drain(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    Object(object): Object,
) -> Outcome {
    let model = part(object)?;
    let did = hold(&state, Phase::Draining, &name, model).await?;
    Ok(did.answered(shown(&state, StatusCode::OK, &name)?))
}

async fn resume(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    Object(object): Object,
) -> Outcome {
    let model = part(object)?;
    let did = hold(&state, Phase::Up, &name, model).await?;
    Ok(did.answered(shown(&state, StatusCode::OK, &name)?))
}

async fn hold(
    state: &State,
    phase: Phase,
    endpoint: &str,
    model: Option<ModelName>,
) -> Result<Did, Problem> {
    let named = model.as_ref().map(ModelName::to_string);
    let (what, change) = match phase {
        Phase::Draining => ("drain", Change::Drain(endpoint.to_owned(), model)),
        Phase::Up => ("resume", Change::Resume(endpoint.to_owned(), model)),
    };
    make(state, change).await?;
    tracing::info!(endpoint, model = named, "{what}, by an operator");
    Ok(Did {
        what: Some(what),
        of: match named {
            Some(model) => format!("{model} on {endpoint}"),
            None => endpoint.to_owned(),
        },
    })
}

async fn make(state: &State, change: Change) -> Result<(), Problem> {
    let inventory = state.inventory.clone();
    let work = async move { inventory.change(change).await };
    Ok(state.in_background(work).await??)
}

fn entry(state: &State, name: &str) -> Result<Entry, Problem> {
    let missing = || Refused::Missing(name.to_owned()).into();
    state.inventory.entry(name).ok_or_else(missing)
}

fn shown(state: &State, status: StatusCode, name: &str) -> Outcome {
    let observed = state.gateway.fleet().observed();
    let mut named = observed.iter().filter(|server| *server.id.name == *name);
    // Of several with one name, the one that is wanted comes first.
    let server = named
        .next()
        .ok_or_else(|| Refused::Missing(name.to_owned()))?;
    let entry = state.inventory.entry(name).filter(|_| !server.leaving);
    let shown = Shown::new(server, entry.as_ref()).with_history(server);
    Ok(answer(status, &shown))
}

fn part(object: Map<String, Value>) -> Result<Option<ModelName>, Problem> {
    let part: Part = serde_json::from_value(Value::Object(object))
        .map_err(|error| Problem::wrong(error.to_string()))?;
    let name = |named: String| {
        ModelName::parse_any(&named)
            .map_err(|_| Problem::wrong(format!("model: \"{named}\" is not a model's name")))
    };
    part.model.map(name).transpose()
}

fn read(object: Map<String, Value>) -> Result<Endpoint, Problem> {
    serde_json::from_value(Value::Object(object)).map_err(|error| Problem::wrong(error.to_string()))
}

/// What is said of it now, and on top of that what is asked for.
fn patched(entry: &Entry, asked: Map<String, Value>) -> Result<Endpoint, Problem> {
    let known = &entry.endpoint;
    let keeps_key = !asked.contains_key("api_key");
    let Ok(Value::Object(mut said)) = serde_json::to_value(known) else {
        return Err(Problem::wrong("the server cannot be written down"));
    };
    // Written down, it is redacted.
    said.remove("api_key");
    patch::merge(&mut said, asked);
    let mut endpoint = read(said)?;
    if keeps_key {
        endpoint.api_key = Secret::clone(&known.api_key);
    }
    if endpoint.name != known.name {
        let text = "name: a server keeps its name; add it under the other one, and remove this one";
        return Err(Problem::wrong(text));
    }
    Ok(endpoint)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::Invalid(_) => StatusCode::BAD_REQUEST,
            Refused::Missing(_) => StatusCode::NOT_FOUND,
            Refused::Restarting | Refused::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Taken { .. }
            | Refused::Itself
            | Refused::Configured(_)
            | Refused::Registered(_)
            | Refused::Found(_)
            | Refused::DrainsWhole(_)
            | Refused::TooMany(_)
            | Refused::TooManyDrains(_)
            | Refused::NotUnderstood
            | Refused::Contended => StatusCode::CONFLICT,
        };
        Self(status, refused.to_string())
    }
}
