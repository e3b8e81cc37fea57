//! Dead letters: listed, shown whole, and replayed.

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{InPath, InQuery, Outcome, Problem, Route, answer};
use crate::http::State;
use crate::spend::{Replayed, records_in, replay};
use crate::store::DeadLetter;

const ALL: &str = "/admin/spend/dead-letters";
const ONE: &str = "/admin/spend/dead-letters/{id}";
const REPLAY: &str = "/admin/spend/dead-letters/{id}/replay";

/// How many a page shows unless told otherwise, and at most.
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<u32>,
    after: Option<String>,
    /// Those that have been replayed, too.
    #[serde(default)]
    all: bool,
}

/// A batch, or what was sent as one, that the database did not take.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DeadLetter")]
struct Shown {
    id: String,
    /// Who sealed the batch.
    producer: String,
    /// The number of the batch.
    seq: u64,
    /// Requests something of is in it; `null` if it is no usage.
    records: Option<u64>,
    /// Why the database did not take it.
    reason: String,
    created_at: i64,
    replayed_at: Option<i64>,
    /// All that is in it; left out in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

/// A page of dead letters.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DeadLetterList")]
struct Listed {
    items: Vec<Shown>,
    /// `after` of the next call; `null` on the last page.
    next: Option<String>,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            ALL,
            "Lists what could not be counted and waits to be replayed, the oldest first",
            list,
        )
        .query(&["limit", "after", "all"])
        .gives::<Listed>(),
        Route::get(ONE, "Shows one, with all that is in it", show).gives::<Shown>(),
        Route::post(
            REPLAY,
            "Tries to count one again; doing that twice counts it once",
            again,
        )
        .gives::<Shown>()
        .tells("replay dead letter"),
    ]
}

async fn list(Shared(state): Shared<State>, InQuery(page): InQuery<Page>) -> Outcome {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let last = match page.after {
        Some(id) => Some(find(&state, read(&id)?).await?),
        None => None,
    };
    let id = last.as_ref().map(|last| last.id.to_string());
    let written = last.map_or(i64::MIN, |last| last.created_at);
    let after = (written, id.as_deref().unwrap_or_default());
    let letters = state
        .store
        .dead_letters_after(!page.all, after, limit + 1)
        .await?;
    let more = letters.len() > limit as usize;
    let mut items: Vec<Shown> = letters.into_iter().map(Shown::from).collect();
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(answer(StatusCode::OK, &Listed { items, next }))
}

async fn show(Shared(state): Shared<State>, InPath(id): InPath<String>) -> Outcome {
    Ok(whole(find(&state, read(&id)?).await?))
}

async fn again(Shared(state): Shared<State>, InPath(id): InPath<String>) -> Outcome {
    let letter = find(&state, read(&id)?).await?;
    let (id, store) = (letter.id, state.store.clone());
    let work = async move { replay(&store, &letter).await };
    match state.in_background(work).await?? {
        Replayed::Added => Ok(whole(find(&state, id).await?)),
        Replayed::NotUsage(why) => Err(Problem::conflict(format!(
            "it is no usage, and whoever sent it sends it again: {why}"
        ))),
        Replayed::Refused(why) => Err(Problem::conflict(format!(
            "the database still does not take it: {why}"
        ))),
    }
}

async fn find(state: &State, id: Uuid) -> Result<DeadLetter, Problem> {
    let found = state.store.dead_letter(id).await?;
    found.ok_or_else(|| Problem::missing(format!("there is no dead letter {id}")))
}

fn read(id: &str) -> Result<Uuid, Problem> {
    id.parse()
        .map_err(|_| Problem::wrong(format!("\"{id}\" is no id of a dead letter")))
}

/// With what is in it, as JSON where it is that.
fn whole(letter: DeadLetter) -> axum::response::Response {
    let payload = serde_json::from_str(&letter.payload);
    let payload = payload.unwrap_or_else(|_| Value::String(letter.payload.clone()));
    let shown = Shown {
        payload: Some(payload),
        ..Shown::from(letter)
    };
    answer(StatusCode::OK, &shown)
}

impl From<DeadLetter> for Shown {
    fn from(letter: DeadLetter) -> Self {
        Self {
            records: records_in(&letter),
            id: letter.id.to_string(),
            producer: letter.batch.producer.to_string(),
            seq: letter.batch.seq,
            reason: letter.reason,
            created_at: letter.created_at,
            replayed_at: letter.replayed_at,
            payload: None,
        }
    }
}
