//! What there is to watch: each topic as a table of this moment.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::jobs;
use super::table::Table;
use crate::fleet::{Observed, Shown};
use crate::gateway::Phase;
use crate::http::State;

/// More requests than these are counted, and not listed.
const MOST_REQUESTS: usize = 1_000;

/// One subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// Totals.
    Overview,
    /// The servers.
    Servers,
    /// The models.
    Models,
    /// The requests that are not over.
    Requests,
    /// The router itself.
    System,
    /// What goes on for longer than a request.
    Jobs,
}

impl Topic {
    pub(super) const ALL: [Self; 6] = [
        Self::Overview,
        Self::Servers,
        Self::Models,
        Self::Requests,
        Self::System,
        Self::Jobs,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Servers => "servers",
            Self::Models => "models",
            Self::Requests => "requests",
            Self::System => "system",
            Self::Jobs => "jobs",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == name)
    }

    /// As it is now.
    pub(super) async fn table(self, state: &State) -> Table {
        let (columns, rows) = match self {
            Self::Jobs => return jobs::table(state.models.pulls().await),
            Self::Overview => overview(state),
            Self::Servers => servers(state),
            Self::Models => models(state),
            Self::Requests => requests(state),
            Self::System => system(state),
        };
        Table {
            topic: self.as_str(),
            columns,
            rows,
        }
    }
}

type Rows = (&'static [&'static str], BTreeMap<u64, Vec<Value>>);

fn overview(state: &State) -> Rows {
    let observed = state.gateway.fleet().observed();
    let count = |phase: Shown| {
        observed
            .iter()
            .filter(|server| server.phase == phase)
            .count()
    };
    let requests = state.gateway.requests();
    let open = requests.open();
    let is = |phase: Phase| {
        open.iter()
            .filter(|request| request.phase() == phase)
            .count()
    };
    let totals = requests.totals();
    let row = vec![
        json!(count(Shown::Up)),
        json!(count(Shown::Down)),
        json!(count(Shown::Draining) + count(Shown::Drained)),
        json!(open.len()),
        json!(is(Phase::Waiting)),
        json!(is(Phase::Loading)),
        json!(is(Phase::Prompt)),
        json!(is(Phase::Streaming)),
        json!(totals.requests),
        json!(totals.failed),
        // Of answers that are not over, what has come so far.
        json!(totals.tokens + open.iter().map(|request| request.output()).sum::<u64>()),
    ];
    const COLUMNS: &[&str] = &[
        "servers_up",
        "servers_down",
        "servers_draining",
        "requests",
        "waiting",
        "loading",
        "prompt",
        "streaming",
        "ended",
        "failed",
        "tokens",
    ];
    (COLUMNS, BTreeMap::from([(0, row)]))
}

fn servers(state: &State) -> Rows {
    let entries = state.inventory.entries();
    let row = |server: &Observed| {
        let entry = entries
            .iter()
            .find(|entry| *entry.endpoint.name == *server.id.name)
            .filter(|_| !server.leaving);
        let source = entry.map(|entry| entry.source.as_str());
        let loaded: Vec<&str> = server
            .loaded
            .iter()
            .map(|model| model.name.as_str())
            .collect();
        vec![
            json!(server.id.name),
            json!(server.url),
            json!(server.kind),
            json!(source),
            json!(server.phase),
            json!(server.since),
            json!(server.reason),
            json!(server.version.as_ref().map(ToString::to_string)),
            json!(server.weight),
            json!(server.priority),
            json!(server.slots),
            json!(server.in_flight),
            json!(server.waiting),
            json!(server.models.as_ref().map(|models| models.len())),
            json!(loaded),
            json!(
                server
                    .loaded
                    .iter()
                    .map(|model| model.size_vram)
                    .sum::<u64>()
            ),
            json!(server.first_byte_ms.map(|quantiles| quantiles.p50)),
            json!(server.first_byte_ms.map(|quantiles| quantiles.p95)),
        ]
    };
    const COLUMNS: &[&str] = &[
        "name",
        "url",
        "kind",
        "source",
        "phase",
        "since",
        "why",
        "version",
        "weight",
        "priority",
        "slots",
        "in_flight",
        "waiting",
        "models",
        "loaded",
        "memory_used",
        "first_byte_p50_ms",
        "first_byte_p95_ms",
    ];
    let observed = state.gateway.fleet().observed();
    let rows = observed
        .iter()
        .map(|server| (server.id.generation, row(server)));
    (COLUMNS, rows.collect())
}

fn models(state: &State) -> Rows {
    #[derive(Default)]
    struct Model {
        on: usize,
        loaded: usize,
        in_flight: u32,
        queued: usize,
    }
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let observed = state.gateway.fleet().observed();
    for server in observed.iter().filter(|server| !server.leaving) {
        for listed in server.models.iter().flat_map(|models| models.iter()) {
            models.entry(listed.name.to_string()).or_default().on += 1;
        }
        for loaded in server.loaded.iter() {
            models.entry(loaded.name.to_string()).or_default().loaded += 1;
        }
        for held in &server.held {
            models.entry(held.model.to_string()).or_default().in_flight += held.in_flight;
        }
    }
    for (model, queued) in state.gateway.fleet().queue_lengths() {
        models.entry(model.to_string()).or_default().queued = queued;
    }
    const COLUMNS: &[&str] = &["name", "servers", "loaded", "in_flight", "queued"];
    let row = |(name, model): (String, Model)| {
        let id = number(&name);
        let Model {
            on,
            loaded,
            in_flight,
            queued,
        } = model;
        let row = [
            json!(name),
            json!(on),
            json!(loaded),
            json!(in_flight),
            json!(queued),
        ];
        (id, row.to_vec())
    };
    (COLUMNS, models.into_iter().map(row).collect())
}

/// A number for a name, the same as long as the router runs, and one that JavaScript can hold.
fn number(name: &str) -> u64 {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    HASHER.get_or_init(RandomState::new).hash_one(name) >> 11
}

fn requests(state: &State) -> Rows {
    const COLUMNS: &[&str] = &[
        "id", "path", "model", "key", "endpoint", "phase", "arrived", "tokens", "attempts",
    ];
    let open = state.gateway.requests().open();
    let rows = open.iter().take(MOST_REQUESTS).map(|request| {
        let last = request.tries_so_far().last();
        let row = [
            json!(request.id()),
            json!(request.api().path()),
            json!(request.model().map(|model| model.as_str())),
            json!(request.key()),
            json!(last.map(|last| &last.endpoint)),
            json!(request.phase()),
            json!(request.arrived_ms()),
            json!(request.output()),
            json!(request.attempts()),
        ];
        (request.serial(), row.to_vec())
    });
    (COLUMNS, rows.collect())
}

fn system(state: &State) -> Rows {
    const COLUMNS: &[&str] = &[
        "ready",
        "spend_pending",
        "spend_oldest_ms",
        "journal_bytes",
        "journal_healthy",
        "redis_up",
    ];
    let stats = state.spend.stats();
    let oldest = u64::try_from(stats.oldest_age().as_millis()).unwrap_or(u64::MAX);
    let row = vec![
        json!(state.gateway.is_ready()),
        json!(stats.pending()),
        // To a quarter of a second: it changes all the time.
        json!(oldest / 250 * 250),
        json!(stats.journal_bytes()),
        json!(stats.journal_healthy()),
        json!(state.redis.as_ref().map(|_| stats.redis_up())),
    ];
    (COLUMNS, BTreeMap::from([(0, row)]))
}
