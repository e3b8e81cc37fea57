//! The servers and what they run, for dashboards.

use axum::extract::State as Shared;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::fleet::Observed;
use crate::http::visible::Visible;
use crate::http::{State, json};

#[derive(Serialize)]
struct Config<'a> {
    endpoints: Vec<Endpoint<'a>>,
    llama_server_endpoints: [(); 0],
    require_router_api_key: bool,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    name: &'a str,
    url: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// From the caches: unlike nomyo-router's, a request does not probe any server.
/// Whoever may use some models or servers only sees those of these servers that have one of these models.
pub(super) async fn config(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let observed = state.gateway.fleet().observed();
    let wanted = observed
        .iter()
        .filter(|server| !server.leaving && scope.shows_server(server));
    let config = Config {
        endpoints: wanted.map(endpoint).collect(),
        llama_server_endpoints: [],
        require_router_api_key: state.access.requires_key(),
    };
    json(
        StatusCode::OK,
        serde_json::to_vec(&config).unwrap_or_default(),
    )
}

pub(super) async fn ps_details(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let view = state.gateway.fleet().settled_view().await;
    let details = match scope.is_everything() {
        true => view.running_details(),
        false => view.running_details_of(|server, model| scope.shows_on(server, model)),
    };
    json(StatusCode::OK, details)
}

fn endpoint(server: &Observed) -> Endpoint<'_> {
    let up = server.serves();
    Endpoint {
        name: &server.id.name,
        url: &server.url,
        status: if up { "ok" } else { "error" },
        version: server
            .version
            .as_ref()
            .filter(|_| up)
            .map(ToString::to_string),
        detail: (!up).then(|| server.reason.as_deref().unwrap_or("not heard from yet")),
    }
}
