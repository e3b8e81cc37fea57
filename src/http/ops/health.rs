//! Alive, ready, and how the herd is.
//!
//! *Live* says that the process answers: restart it when it does not. *Ready* says that it takes
//! new work: send none while it does not. *Health* says whether anybody could be served.

use std::collections::BTreeMap;

use axum::extract::State as Shared;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::fleet::{Phase, Server};
use crate::http::{State, json};

#[derive(Serialize)]
struct Herd<'a> {
    status: &'static str,
    endpoints: BTreeMap<&'a str, Health<'a>>,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    url: &'a str,
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
    if state.gateway.is_open() {
        json(StatusCode::OK, r#"{"status":"ready"}"#)
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    }
}

pub(super) async fn herd(Shared(state): Shared<State>) -> Response {
    let view = state.gateway.fleet().view();
    let endpoints = view
        .servers
        .iter()
        .map(|server| (&**server.endpoint.name(), health(server)));
    let serves = view.up().next().is_some();
    let herd = Herd {
        status: if serves { "ok" } else { "error" },
        endpoints: endpoints.collect(),
    };
    let status = if serves {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, serde_json::to_vec(&herd).unwrap_or_default())
}

fn health(server: &Server) -> Health<'_> {
    let report = &server.report;
    Health {
        status: match report.phase {
            Phase::Up => "ok",
            Phase::Down(_) => "error",
            Phase::Unknown => "unknown",
        },
        url: server.endpoint.url(),
        version: report.version.as_ref().map(ToString::to_string),
        models: report.models.as_ref().map_or(0, |models| models.len()),
        loaded: report.running.len(),
        in_flight: server.endpoint.total_in_flight(),
        detail: report.trouble.as_deref(),
    }
}
