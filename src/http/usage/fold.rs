//! `POST /api/aggregate_time_series_days`: old minutes into days.
//!
//! As nomyo-router takes it: `{"days": 30, "trim_old": false}`, and what cannot be read as that is that. With
//! `trim_old` the minutes become days in the same table. Without it they stay, and so nothing is written: their
//! sums are the days', which are only counted.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::http::body::Small;
use crate::http::error::Refusal;
use crate::http::{State, json};
use crate::spend::{Fold, FoldError};

/// In seconds.
const DAY: i64 = 86_400;

#[derive(Clone, Copy, Deserialize)]
#[serde(default)]
struct Asked {
    days: u32,
    trim_old: bool,
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
    days: u32,
    trim_old: bool,
    aggregated_groups: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            days: 30,
            trim_old: false,
        }
    }
}

pub(super) async fn fold(Shared(state): Shared<State>, Small(body): Small) -> Response {
    let asked: Asked = serde_json::from_slice(&body).unwrap_or_default();
    let before = clock::unix_seconds() - i64::from(asked.days) * DAY;
    let fold = match asked.trim_old {
        true => Fold::Trim,
        false => Fold::Count,
    };
    let (store, folding) = (state.store.clone(), state.folding.clone());
    let over = state.gateway.closing();
    // To its end, whether or not the client waits for it.
    let folded = state
        .tasks
        .spawn(async move { folding.run(&store, before, fold, &over).await });
    match folded.await {
        Ok(Ok(groups)) => done(asked, groups),
        Ok(Err(error)) => refused(&error),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Refusal::ollama(status, error.to_string()).into_response()
        }
    }
}

fn done(asked: Asked, groups: u64) -> Response {
    let done = Done {
        status: "ok",
        days: asked.days,
        trim_old: asked.trim_old,
        aggregated_groups: groups,
    };
    let body = serde_json::to_vec(&done).unwrap_or_default();
    json(StatusCode::OK, body)
}

fn refused(error: &FoldError) -> Response {
    let status = match error {
        FoldError::Busy => StatusCode::CONFLICT,
        FoldError::Stopping | FoldError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::ollama(status, error.to_string()).into_response()
}
