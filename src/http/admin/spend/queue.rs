//! Where every record is.

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Outcome, answer};
use crate::http::State;
use crate::spend::Queue;
use crate::store::Error;

/// Where every record of a router is, and what the database says.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "SpendQueue")]
pub(super) struct Shown {
    #[serde(flatten)]
    queue: Queue,
    database: Database,
}

/// What the database says; it may be away, and that is what one wants to see here.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Database {
    up: bool,
    error: Option<String>,
    /// Who wrote last as a leader, and under which epoch; epoch 0 is nobody.
    last_leader: Option<String>,
    last_epoch: Option<u64>,
    /// Dead letters that wait to be replayed.
    dead_letters: Option<i64>,
}

pub(super) async fn show(Shared(state): Shared<State>) -> Outcome {
    let asked = async {
        let leader = state.store.last_leader().await?;
        let letters = state.store.dead_letters_waiting().await?;
        Ok::<_, Error>((leader, letters))
    };
    let (queue, asked) = tokio::join!(state.spend.queue(), asked);
    let database = match asked {
        Ok((leader, letters)) => Database {
            up: true,
            error: None,
            last_leader: Some(leader.leader),
            last_epoch: Some(leader.epoch),
            dead_letters: Some(letters),
        },
        Err(error) => Database {
            up: false,
            error: Some(error.to_string()),
            last_leader: None,
            last_epoch: None,
            dead_letters: None,
        },
    };
    Ok(answer(StatusCode::OK, &Shown { queue, database }))
}
