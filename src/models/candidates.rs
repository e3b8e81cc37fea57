//! The servers as the fleet knows them, for the choice among them.

use std::collections::HashSet;
use std::sync::Arc;

use super::targets::Candidate;
use crate::backend::Kind;
use crate::domain::ModelName;
use crate::fleet::{Endpoint, FleetView, Phase, Report, Server};

/// All of them. `model` is the one that the call reads or changes.
pub(super) fn candidates(view: &FleetView, model: Option<&ModelName>) -> Vec<Candidate> {
    let candidate = |server: &Server| {
        let settings = server.endpoint.settings();
        Candidate {
            server: Arc::clone(&server.endpoint),
            name: Arc::clone(server.endpoint.name()),
            labels: Arc::clone(&settings.labels),
            held: is_held(&server.endpoint, model),
            manages: settings.backend.kind() == Kind::Ollama,
            away: away(server),
            has: model.is_some_and(|model| lists(&server.report, model)),
            bytes: bytes(&server.report),
            cloud: settings.cloud,
        }
    };
    let wanted = view
        .servers
        .iter()
        .filter(|server| !server.endpoint.is_draining());
    wanted.map(candidate).collect()
}

/// An operator keeps what is new from it: everything, or this model.
pub(super) fn is_held(endpoint: &Endpoint, model: Option<&ModelName>) -> bool {
    endpoint.is_on_hold() || model.is_some_and(|model| endpoint.is_on_hold_for(model))
}

fn away(server: &Server) -> Option<&'static str> {
    match server.report.phase {
        Phase::Up => None,
        Phase::Starting => Some("has not answered yet"),
        Phase::Down => Some("down"),
    }
}

fn lists(report: &Report, model: &ModelName) -> bool {
    let mut models = report.models.iter().flat_map(|models| models.iter());
    models.any(|listed| listed.name == *model)
}

/// Names for the same bytes count once.
fn bytes(report: &Report) -> u64 {
    let mut seen = HashSet::new();
    let models = report.models.iter().flat_map(|models| models.iter());
    let each = models.filter(|model| model.digest.is_empty() || seen.insert(&*model.digest));
    each.map(crate::protocol::ListedModel::size).sum()
}
