//! The pulls: those that outlive their caller are started here, and all can be ended.

use axum::extract::State as Shared;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Did, InPath, Object, Outcome, Problem, Route, answer};
use crate::access::Scope;
use crate::http::managers::OFF;
use crate::http::ollama::forwarded;
use crate::http::{State, request_id};
use crate::models::{Asked, Error, Meant, PartShown, PullShown};
use crate::protocol::{ManageApi, ManageRequest};

const ALL: &str = "/admin/pulls";
const ONE: &str = "/admin/pulls/{id}";

/// The pulls that run, and those that ended lately.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Pulls")]
struct Shown {
    pulls: Vec<Pull>,
}

#[derive(JsonSchema, Serialize)]
struct Pull {
    id: u64,
    model: String,
    #[schemars(extend("enum" = ["running", "done", "failed"]))]
    phase: &'static str,
    /// Why it has failed.
    error: Option<String>,
    /// When it began.
    since: i64,
    /// It goes on when nobody reads its progress.
    kept: bool,
    /// How many read its progress.
    readers: usize,
    /// Bytes that are there, over all servers.
    completed: u64,
    /// Bytes in all, as far as is known.
    total: u64,
    endpoints: Vec<Part>,
}

/// One server's part of it.
#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Part {
    endpoint: String,
    #[schemars(extend("enum" = ["running", "done", "failed"]))]
    phase: &'static str,
    /// What the server does now, in its words.
    status: String,
    /// Why it has failed.
    error: Option<String>,
    completed: u64,
    total: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewPull")]
struct NewPull {
    model: String,
    /// The servers that get it; without any, those that every pull is for.
    #[serde(default)]
    endpoints: Vec<String>,
    /// The registry may be asked without TLS.
    #[serde(default)]
    insecure: bool,
}

/// A pull that has begun, or runs already.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PullBegun")]
struct Begun {
    id: u64,
    endpoints: Vec<String>,
    /// Servers that do not get it now.
    left_out: Vec<String>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PullEnded")]
struct Ended {
    id: u64,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            ALL,
            "Shows the pulls that run and those that ended lately",
            list,
        )
        .gives::<Shown>(),
        Route::post(ALL, "Pulls a model, also when nobody waits for it", begin)
            .takes::<NewPull>()
            .gives::<Begun>()
            .accepted()
            .tells("pull model"),
        Route::delete(ONE, "Ends a pull, or forgets one that has ended", end)
            .gives::<Ended>()
            .tells("end pull"),
    ]
}

async fn list(Shared(state): Shared<State>) -> Outcome {
    let pulls = state.models.pulls().await.into_iter().map(pull).collect();
    Ok(answer(StatusCode::OK, &Shown { pulls }))
}

async fn begin(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    Object(object): Object,
) -> Outcome {
    if state.managers.is_off() {
        return Err(Problem(StatusCode::FORBIDDEN, OFF.to_owned()));
    }
    let asked: NewPull =
        serde_json::from_value(object.into()).map_err(|error| Problem::wrong(error.to_string()))?;
    let body = serde_json::json!({ "model": asked.model, "insecure": asked.insecure });
    let request = ManageRequest::read(ManageApi::Pull, body.to_string().as_bytes());
    let mut only: Vec<Box<str>> = asked.endpoints.into_iter().map(Into::into).collect();
    only.sort_unstable();
    only.dedup();
    let pull = state.models.pull(Asked {
        request: request.map_err(|error| Problem::wrong(error.to_string()))?,
        headers: forwarded(
            &headers,
            &request_id::of(&headers),
            Some("application/json"),
        ),
        meant: Meant {
            only,
            within: Vec::new(),
        },
        scope: Scope::everything(),
        kept: true,
    });
    let pull = pull.await?;
    let names = |names: Vec<std::sync::Arc<str>>| names.iter().map(ToString::to_string).collect();
    let begun = Begun {
        id: pull.id(),
        endpoints: names(pull.endpoints()),
        left_out: names(pull.left_out()),
    };
    Ok(Did::to(asked.model).answered(answer(StatusCode::ACCEPTED, &begun)))
}

async fn end(Shared(state): Shared<State>, InPath(id): InPath<u64>) -> Outcome {
    match state.models.cancel_pull(id).await {
        true => Ok(answer(StatusCode::OK, &Ended { id })),
        false => Err(Problem::missing(format!("there is no pull {id}"))),
    }
}

fn pull(pull: PullShown) -> Pull {
    Pull {
        id: pull.id,
        model: pull.model.to_string(),
        phase: pull.phase,
        error: pull.error,
        since: pull.since,
        kept: pull.kept,
        readers: pull.readers,
        completed: pull.completed,
        total: pull.total,
        endpoints: pull.servers.into_iter().map(part).collect(),
    }
}

fn part(part: PartShown) -> Part {
    Part {
        endpoint: part.endpoint.to_string(),
        phase: part.phase,
        status: part.status.to_string(),
        error: part.error,
        completed: part.completed,
        total: part.total,
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error.status, error.words)
    }
}
