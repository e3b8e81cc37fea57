//! Usage, live and past, in the shapes nomyo-router's dashboards read.

mod counts;
mod servers;
mod stream;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::visible::Visible;
use super::{State, json};

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/api/usage", get(now))
        .route("/api/usage-stream", get(stream::stream))
        .route("/api/token_counts", get(counts::token_counts))
        .route("/api/stats", post(counts::stats))
        .route("/api/config", get(servers::config))
        .route("/api/ps_details", get(servers::ps_details))
}

async fn now(Shared(state): Shared<State>, Visible(scope): Visible) -> Response {
    let usage = state.gateway.usage();
    let snapshot = match scope.is_everything() {
        true => usage.snapshot(),
        false => usage.snapshot_of(|model| scope.shows(model)),
    };
    json(StatusCode::OK, snapshot)
}
