//! A server in JSON.

use schemars::JsonSchema;
use serde::Serialize;

use crate::backend::Kind;
use crate::domain::ModelName;
use crate::fleet::{Held, Observed, Shown as Phase, StateChange};
use crate::inventory::Entry;
use crate::protocol::{RunningModel, unix_seconds};

/// A server that is to be added, as `[[endpoint]]` of a configuration has it.
///
/// It is read as a configuration reads it; this describes that, and a test holds the two equal.
#[derive(Default, JsonSchema, Serialize)]
#[schemars(default)]
pub(super) struct NewEndpoint {
    /// Its root, `http` or `https`. Of one that offers itself the name is enough.
    url: String,
    /// How it is called; unique. `host:port` where nothing is said.
    name: String,
    /// What it speaks.
    #[schemars(example = &"ollama", example = &"openai")]
    kind: String,
    /// Concurrent requests per model: a number, or `auto`.
    slots: SlotsShown,
    /// Its share among servers of equal priority; above zero.
    weight: f64,
    /// Lower is used first.
    priority: i32,
    /// Sent to it; never shown.
    api_key: String,
    /// What it has, if it cannot say so itself.
    models: Vec<String>,
    /// What it is also called, together with others.
    labels: Vec<String>,
    /// The one server that what is Ollama's cloud's goes to.
    cloud: bool,
}

#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "described, and read as a configuration reads it")]
enum SlotsShown {
    Count(u32),
    Word(String),
}

impl Default for SlotsShown {
    fn default() -> Self {
        Self::Word("auto".to_owned())
    }
}

/// A server as it is.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Endpoint")]
pub(super) struct Shown {
    name: String,
    url: String,
    #[schemars(with = "String")]
    kind: Kind,
    /// Who wants it: `config`, `admin` or `agent`; `null` when nobody does any more, and it finishes what runs.
    source: Option<&'static str>,
    /// `starting`, `up`, `down`, `draining` or `drained`.
    #[schemars(with = "String")]
    phase: Phase,
    /// When that began, as far as the server is concerned.
    since: i64,
    /// Why it does not serve.
    why: Option<String>,
    version: Option<String>,
    weight: f64,
    priority: i32,
    /// Concurrent requests per model.
    slots: u32,
    labels: Vec<String>,
    /// Requests that hold a slot now.
    in_flight: u32,
    /// Of these, those without a first byte yet.
    waiting: u32,
    models: Vec<String>,
    /// Models that take nothing new there, whatever is the case for the whole server.
    draining: Vec<String>,
    /// Of these, those whose last request has ended.
    drained: Vec<String>,
    loaded: Vec<Loaded>,
    memory: Memory,
    /// How long the first bytes of streams take there, in milliseconds; `null` where none has come lately.
    first_byte_ms: Option<FirstByte>,
    /// Of one server alone: the states it has been in during the last day, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<WasIn>")]
    history: Option<Vec<WasIn>>,
}

/// Within so long the first bytes of half, of 95 and of 99 of a hundred answers came.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct FirstByte {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct WasIn {
    /// From when on.
    at: i64,
    #[schemars(with = "String")]
    phase: Phase,
    why: Option<String>,
}

/// A model in memory.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Loaded {
    model: String,
    /// When the server unloads it, if nothing asks for it.
    until: Option<i64>,
    /// Bytes of graphics memory.
    size: u64,
    context_length: Option<u64>,
    in_flight: u32,
    slots: u32,
}

/// Of graphics memory, in bytes.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Memory {
    /// What its models may take together; `null` where nobody knows.
    limit: Option<u64>,
    /// What they take.
    used: u64,
    /// What was learnt of the limit; `null` where nothing was.
    learned: Option<u64>,
}

impl Shown {
    pub(super) fn new(server: &Observed, entry: Option<&Entry>) -> Self {
        let loaded: Vec<Loaded> = server
            .loaded
            .iter()
            .map(|running| loaded(server, running))
            .collect();
        let models = server.models.iter().flat_map(|models| models.iter());
        // A model that the server does not list drains there as well, and nothing of it runs.
        let unlisted = |model: &&ModelName| !server.held.iter().any(|held| held.model == **model);
        let wanted = entry.iter().flat_map(|entry| entry.drain.models());
        let unlisted: Vec<&ModelName> = wanted.filter(unlisted).collect();
        let held = |which: fn(&Held) -> bool| {
            let held = server.held.iter().filter(|held| which(held));
            let held = held.map(|held| &held.model);
            let all = held.chain(unlisted.iter().copied());
            all.map(ToString::to_string).collect()
        };
        Self {
            name: server.id.name.to_string(),
            url: server.url.to_string(),
            kind: server.kind,
            source: entry.map(|entry| entry.source.as_str()),
            phase: server.phase,
            since: server.since,
            why: server.reason.as_deref().map(str::to_owned),
            version: server.version.as_ref().map(ToString::to_string),
            weight: server.weight,
            priority: server.priority,
            slots: server.slots,
            labels: server.labels.iter().map(ToString::to_string).collect(),
            in_flight: server.in_flight,
            waiting: server.waiting,
            models: models.map(|model| model.name.to_string()).collect(),
            draining: held(|held| held.draining),
            drained: held(|held| held.drained),
            memory: Memory {
                limit: entry.and_then(|entry| entry.memory),
                used: loaded.iter().map(|loaded| loaded.size).sum(),
                learned: None,
            },
            loaded,
            first_byte_ms: server.first_byte_ms.map(|quantiles| FirstByte {
                p50: quantiles.p50,
                p95: quantiles.p95,
                p99: quantiles.p99,
            }),
            history: None,
        }
    }

    /// With the states it has been in.
    pub(super) fn with_history(self, server: &Observed) -> Self {
        let was_in = |change: &StateChange| WasIn {
            at: change.at,
            phase: change.phase,
            why: change.why.as_deref().map(str::to_owned),
        };
        Self {
            history: Some(server.history.iter().map(was_in).collect()),
            ..self
        }
    }
}

fn loaded(server: &Observed, running: &RunningModel) -> Loaded {
    let of = |model: &ModelName| server.held.iter().find(|held| held.model == *model);
    let held = of(&running.name);
    Loaded {
        model: running.name.to_string(),
        until: unix_seconds(&running.expires_at),
        size: running.size_vram,
        context_length: running.context_length,
        in_flight: held.map_or(0, |held| held.in_flight),
        slots: held.map_or(server.slots, |held| held.slots),
    }
}
