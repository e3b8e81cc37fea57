//! What has been used, from the database.

use std::collections::BTreeMap;

use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::domain::ModelName;
use crate::http::body::Small;
use crate::http::error::Refusal;
use crate::http::visible::Visible;
use crate::http::{State, json};
use crate::store::{CountRow, MAX_MINUTES, MinuteRow};

#[derive(Serialize)]
struct Totals<'a> {
    total_tokens: i64,
    breakdown: Vec<Counts<'a>>,
}

#[derive(Serialize)]
struct Counts<'a> {
    endpoint: &'a str,
    model: &'a str,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
}

#[derive(Serialize)]
struct Stats<'a> {
    model: &'a str,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
    time_series: Vec<Minute<'a>>,
    endpoint_distribution: BTreeMap<&'a str, i64>,
}

#[derive(Serialize)]
struct Minute<'a> {
    endpoint: &'a str,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
    timestamp: i64,
}

/// The model asked about, in the query or in the body.
#[derive(Default, Deserialize)]
pub(super) struct About {
    model: Option<String>,
}

pub(super) async fn token_counts(
    Shared(state): Shared<State>,
    Visible(scope): Visible,
) -> Response {
    let mut rows = match state.store.token_counts().await {
        Ok(rows) => rows,
        Err(error) => return unreadable(&error),
    };
    if !scope.is_everything() {
        rows.retain(|row| ModelName::parse_any(&row.model).is_ok_and(|model| scope.shows(&model)));
    }
    let totals = Totals {
        total_tokens: rows.iter().map(|row| row.total_tokens).sum(),
        breakdown: rows.iter().map(counts).collect(),
    };
    json(
        StatusCode::OK,
        serde_json::to_vec(&totals).unwrap_or_default(),
    )
}

pub(super) async fn stats(
    Shared(state): Shared<State>,
    Visible(scope): Visible,
    Query(query): Query<About>,
    Small(body): Small,
) -> Response {
    let asked = query.model.or_else(|| {
        let about: About = serde_json::from_slice(&body).unwrap_or_default();
        about.model
    });
    let Some(asked) = asked.filter(|model| !model.is_empty()) else {
        return Refusal::ollama(StatusCode::BAD_REQUEST, "model is required").into_response();
    };
    let Ok(model) = ModelName::parse_any(&asked) else {
        return Refusal::ollama(StatusCode::BAD_REQUEST, "invalid model name").into_response();
    };
    let unused = || {
        let text = format!("no usage of model '{asked}' found");
        Refusal::ollama(StatusCode::NOT_FOUND, text).into_response()
    };
    if !scope.shows(&model) {
        return unused();
    }
    let read = async {
        let rows = state.store.token_counts_of(&model).await?;
        Ok::<_, crate::store::Error>((rows, state.store.time_series(&model, MAX_MINUTES).await?))
    };
    match read.await {
        Ok((rows, _)) if rows.is_empty() => unused(),
        Ok((rows, minutes)) => json(StatusCode::OK, render_stats(&asked, &rows, &minutes)),
        Err(error) => unreadable(&error),
    }
}

fn render_stats(asked: &str, rows: &[CountRow], minutes: &[MinuteRow]) -> Vec<u8> {
    let stats = Stats {
        model: asked,
        input_tokens: rows.iter().map(|row| row.input_tokens).sum(),
        output_tokens: rows.iter().map(|row| row.output_tokens).sum(),
        total_tokens: rows.iter().map(|row| row.total_tokens).sum(),
        time_series: minutes.iter().map(minute).collect(),
        endpoint_distribution: rows
            .iter()
            .map(|row| (row.endpoint.as_str(), row.total_tokens))
            .collect(),
    };
    serde_json::to_vec(&stats).unwrap_or_default()
}

fn counts(row: &CountRow) -> Counts<'_> {
    Counts {
        endpoint: &row.endpoint,
        model: &row.model,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        total_tokens: row.total_tokens,
    }
}

fn minute(row: &MinuteRow) -> Minute<'_> {
    Minute {
        endpoint: &row.endpoint,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        total_tokens: row.total_tokens,
        timestamp: row.timestamp,
    }
}

/// Serving goes on without the database; only past usage cannot be shown.
fn unreadable(error: &crate::store::Error) -> Response {
    Refusal::ollama(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("database not readable: {error}"),
    )
    .into_response()
}
