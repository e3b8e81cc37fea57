//! For operators and their machines: health and metrics.

mod health;

use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use super::State;
use super::error::Refusal;
use crate::metrics;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/health", get(health::fleet))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(scrape))
}

/// A Redis that has not answered by then is shown as away.
const REDIS: Duration = Duration::from_millis(250);

async fn scrape(Shared(state): Shared<State>) -> Response {
    state.spend.look(REDIS).await;
    state.gateway.forget_now();
    match metrics::render(&state.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            Refusal::ollama(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}
