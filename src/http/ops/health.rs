//! Liveness, readiness, and the state of the fleet.
//!
//! *Live* says that the process answers: restart it when it does not. *Ready* says that it takes
//! new work: send none while it does not. *Health* says whether any request could be served, and to whoever
//! may see them what each server does, of the servers and models that it may use; to others how many are in which
//! state, and nothing else.

use std::collections::BTreeMap;

use axum::extract::State as Shared;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::backend::Kind;
use crate::discovery::Report;
use crate::domain::ModelName;
use crate::fleet::{FleetView, Observed, Shown};
use crate::http::visible::{Sight, Visible};
use crate::http::{State, json};

#[derive(Serialize)]
struct FleetHealth<'a> {
    status: &'static str,
    /// How many there are in each state.
    states: BTreeMap<&'static str, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<BTreeMap<&'a str, Health<'a>>>,
    /// Models that are not the same on all servers that list them: the servers of each digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digests: BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a str>>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    aliases: BTreeMap<&'a str, AliasHealth<'a>>,
    /// Where servers are looked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    discovery: BTreeMap<&'a str, PlaceHealth<'a>>,
}

/// A name or a file by which servers are found.
#[derive(Serialize)]
struct PlaceHealth<'a> {
    status: &'static str,
    servers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// A name that stands for other models.
#[derive(Serialize)]
struct AliasHealth<'a> {
    models: Vec<&'a str>,
    /// Which of them is used now; none if no server that has one is up.
    uses: Option<&'a str>,
    /// A server has a model of this name, which cannot be reached: the alias stands before it.
    hides_model: bool,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    url: &'a str,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    models: usize,
    loaded: usize,
    in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

pub(super) async fn live() -> Response {
    json(StatusCode::OK, r#"{"status":"ok"}"#)
}

pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    if state.gateway.is_ready() {
        json(StatusCode::OK, r#"{"status":"ready"}"#)
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    }
}

pub(super) async fn fleet(
    Shared(state): Shared<State>,
    visible: Result<Visible, Response>,
) -> Response {
    let observed = state.gateway.fleet().observed();
    let view = state.gateway.fleet().view();
    let mut states = BTreeMap::from(STATES.map(|state| (state, 0)));
    for server in &observed {
        *states.entry(status(server)).or_default() += 1;
    }
    let sight = visible.ok().map(|Visible(sight)| sight);
    let endpoints = sight.as_ref().map(|sight| {
        // Of a name that two servers share, the one that drains comes last and is not shown.
        let servers = observed.iter().rev();
        let shown = servers.filter(|server| sight.shows_server(server));
        shown
            .map(|server| (&*server.id.name, health(server, sight)))
            .collect()
    });
    let digests = match &sight {
        Some(sight) => different_digests(&observed, sight),
        None => BTreeMap::new(),
    };
    let aliases = match &endpoints {
        Some(_) => aliases(&view),
        None => BTreeMap::new(),
    };
    let reports = match &sight {
        Some(sight) if sight.is_everything() => state.discovery.report(),
        _ => Vec::new(),
    };
    let serves = observed.iter().any(Observed::serves);
    let fleet = FleetHealth {
        status: if serves { "ok" } else { "error" },
        states,
        endpoints,
        digests,
        aliases,
        discovery: reports.iter().map(place).collect(),
    };
    let status = if serves {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, serde_json::to_vec(&fleet).unwrap_or_default())
}

/// Requests are routed by tag, so one tag with two digests is two models under one name.
fn different_digests<'a>(
    observed: &'a [Observed],
    sight: &Sight,
) -> BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a str>>> {
    let mut models: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    let wanted = observed
        .iter()
        .filter(|server| !server.leaving && sight.shows_server(server));
    for server in wanted {
        let listed = server.models.iter().flat_map(|models| models.iter());
        let listed = listed.filter(|model| !model.digest.is_empty());
        for model in listed.filter(|model| sight.is_everything() || sight.shows(&model.name)) {
            let digests = models.entry(model.name.as_str()).or_default();
            digests
                .entry(&model.digest)
                .or_default()
                .push(&server.id.name);
        }
    }
    models.retain(|_, digests| digests.len() > 1);
    models
}

fn aliases(view: &FleetView) -> BTreeMap<&str, AliasHealth<'_>> {
    let described = view.aliases().iter().map(|(name, alias)| {
        let targets = alias.targets.iter();
        let health = AliasHealth {
            models: targets.map(|target| target.name.as_str()).collect(),
            uses: view
                .served(&alias.targets)
                .map(|target| target.name.as_str()),
            hides_model: view.model(name).is_some(),
        };
        (name.as_str(), health)
    });
    described.collect()
}

fn place(report: &Report) -> (&str, PlaceHealth<'_>) {
    let is_well = report.trouble.is_none();
    let health = PlaceHealth {
        status: if is_well { "ok" } else { "error" },
        servers: report.servers,
        detail: report.trouble.as_deref(),
    };
    (&report.place, health)
}

const STATES: [&str; 5] = ["drained", "draining", "error", "ok", "unknown"];

fn status(server: &Observed) -> &'static str {
    match server.phase {
        Shown::Up if server.serves() => "ok",
        Shown::Up | Shown::Down => "error",
        Shown::Starting => "unknown",
        Shown::Draining => "draining",
        Shown::Drained => "drained",
    }
}

fn health<'a>(server: &'a Observed, sight: &Sight) -> Health<'a> {
    let shown = |model: &ModelName| sight.is_everything() || sight.shows(model);
    let models = server.models.iter().flat_map(|models| models.iter());
    let loaded = server.loaded.iter();
    Health {
        status: status(server),
        url: &server.url,
        kind: server.kind,
        version: server.version.as_ref().map(ToString::to_string),
        models: models.filter(|model| shown(&model.name)).count(),
        loaded: loaded.filter(|model| shown(&model.name)).count(),
        in_flight: server.in_flight,
        detail: server.reason.as_deref(),
    }
}
