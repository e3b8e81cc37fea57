//! For operators and their machines: health and metrics.

mod health;

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
        .route("/health", get(health::herd))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(scrape))
}

async fn scrape(Shared(state): Shared<State>) -> Response {
    match metrics::render(&state.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            Refusal::ollama(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}
