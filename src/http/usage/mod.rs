//! Usage, live and past, in the shapes nomyo-router's dashboards read.

mod counts;
mod fold;
mod servers;
mod stream;

use axum::Router;
use axum::extract::State as Shared;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::admin::guard;
use super::visible::Visible;
use super::{State, json};

/// The one call here that changes something: for whoever may use the admin API.
const FOLD: &str = "/api/aggregate_time_series_days";

/// Whether what is called here is for this machine itself.
pub(super) fn is_managing(path: &str) -> bool {
    path == FOLD
}

pub(super) fn routes(state: &State) -> Router<State> {
    let managing = Router::new()
        .route(FOLD, post(fold::fold))
        .route_layer(from_fn_with_state(state.admin.clone(), guard));
    Router::new()
        .merge(managing)
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
