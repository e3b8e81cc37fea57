//! Whether everything adds up. That it does not is a result, and no error.

use std::time::Duration;

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Outcome, answer};
use crate::http::State;
use crate::spend::{self, Account, Audit};

/// What is on its way arrives within seconds, or does not.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Whether everything adds up.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "SpendVerified")]
pub(super) struct Shown {
    /// It does.
    holds: bool,
    /// What this router has written down, and what has become of it.
    router: Account,
    /// Who it is as a producer.
    producer: String,
    /// What `router` says, of this run alone.
    run: Account,
    database: Audit,
    /// In a sentence each, what does not hold.
    problems: Vec<String>,
}

pub(super) async fn show(Shared(state): Shared<State>) -> Outcome {
    let database = spend::verify(&state.store, Some(state.spend.stats()), TIMEOUT).await?;
    let problems: Vec<_> = database.problems.iter().map(ToString::to_string).collect();
    let (producer, run) = state.spend.stats().own();
    let shown = Shown {
        holds: problems.is_empty(),
        router: state.spend.account(),
        producer: producer.to_string(),
        run,
        database,
        problems,
    };
    Ok(answer(StatusCode::OK, &shown))
}
