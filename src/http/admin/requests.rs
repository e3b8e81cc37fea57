//! Which requests are where now, how the last ones went, and why each went to its server. What was asked and
//! what was answered is not in it.

use std::net::IpAddr;

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InPath, InQuery, Outcome, Problem, Route, answer};
use crate::domain::ModelName;
use crate::fleet::Considered;
use crate::gateway::{MOST_ENDED, Phase, Request};
use crate::http::State;

const ALL: &str = "/admin/requests";
const ONE: &str = "/admin/requests/{id}";

/// Which of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Those that have ended, the last one first.
    #[serde(default)]
    ended: bool,
    model: Option<String>,
    endpoint: Option<String>,
    status: Option<u16>,
    limit: Option<usize>,
}

/// Requests.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RequestList")]
struct Listed {
    requests: Vec<Shown>,
}

/// A request. Times are milliseconds.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Request")]
struct Shown {
    id: String,
    path: &'static str,
    model: Option<String>,
    /// The id of its key.
    key: Option<String>,
    /// The client's address, by a trusted proxy where there is one; null when such a one says none.
    client: Option<IpAddr>,
    /// The server it was sent to last.
    endpoint: Option<String>,
    /// `waiting` for a slot; `loading`: its server loads the model for it; `prompt`: its server has it, and
    /// has not begun to answer; `streaming`; `ended`.
    #[schemars(with = "String")]
    phase: Phase,
    /// How long it has been there.
    since_ms: u64,
    /// When it arrived, in Unix seconds.
    arrived: f64,
    /// How long it has taken so far, or took.
    total_ms: u64,
    /// How long it waited for a slot.
    queue_ms: u64,
    /// When the first byte of its answer came, from its arrival on.
    first_byte_ms: Option<u64>,
    /// Tokens read: known in the end.
    input_tokens: u64,
    /// Tokens written so far.
    tokens: u64,
    /// How many servers it was sent to.
    attempts: u32,
    /// Of one that has ended: 499 when its client left, or an operator cancelled it, before there was an answer.
    status: Option<u16>,
    cancelled: bool,
    /// Of one alone: the servers that had the model when it was last sent to one, in the order in which they
    /// rank, and what spoke for and against each.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Why>")]
    why: Option<Vec<Why>>,
    /// Of one alone: every server it was sent to, in that order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Tried>")]
    tries: Option<Vec<Tried>>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Why {
    endpoint: String,
    /// `chosen`, `possible` or `excluded`.
    verdict: &'static str,
    reason: String,
    /// Of its slots for the model, those in use then.
    in_flight: u16,
    slots: u16,
}

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
struct Tried {
    endpoint: String,
    /// `loaded`, `cold` or `queued`.
    route: Option<&'static str>,
    /// How it failed the request.
    failure: Option<&'static str>,
}

/// What was cancelled.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RequestsCancelled")]
struct Cancelled {
    cancelled: String,
    /// How many requests had this id.
    requests: usize,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            ALL,
            "Lists the requests that are not over; with `ended=true` the last thousand that are",
            list,
        )
        .query(&["ended", "model", "endpoint", "status", "limit"])
        .gives::<Listed>(),
        Route::get(
            ONE,
            "Shows one request, and why it went to its server",
            show,
        )
        .gives::<Shown>(),
        Route::delete(
            ONE,
            "Ends a request: its client gets an error, and its server stops",
            cancel,
        )
        .gives::<Cancelled>()
        .tells("cancel request"),
    ]
}

async fn list(Shared(state): Shared<State>, InQuery(mut asked): InQuery<Asked>) -> Outcome {
    // As requests name it: with its tag.
    if let Some(model) = &mut asked.model
        && let Ok(named) = ModelName::parse_any(model)
    {
        *model = named.to_string();
    }
    let requests = state.gateway.requests();
    let all = match asked.ended {
        true => requests.ended(),
        false => requests.open(),
    };
    let requests = all
        .iter()
        .map(|request| Shown::new(request))
        .filter(|shown| asked.wants(shown))
        .take(asked.limit.unwrap_or(MOST_ENDED))
        .collect();
    Ok(answer(StatusCode::OK, &Listed { requests }))
}

async fn show(Shared(state): Shared<State>, InPath(id): InPath<String>) -> Outcome {
    let requests = state.gateway.requests();
    let request = requests.find(&id).ok_or_else(|| unknown(&id))?;
    let mut shown = Shown::new(&request);
    let considered = match request.considered() {
        Some(considered) => considered.clone(),
        // It waits: as it is now.
        None if request.phase() != Phase::Ended => state.gateway.considered(&request),
        None => Considered::default(),
    };
    shown.why = Some(
        considered
            .iter()
            .map(|(endpoint, reason, in_flight, slots)| Why {
                endpoint: endpoint.to_string(),
                verdict: reason.verdict(),
                reason: reason.to_string(),
                in_flight,
                slots,
            })
            .collect(),
    );
    let tries = request.tries_so_far().map(|tried| Tried {
        endpoint: tried.endpoint.to_string(),
        route: tried.route,
        failure: tried.failure(),
    });
    shown.tries = Some(tries.collect());
    Ok(answer(StatusCode::OK, &shown))
}

async fn cancel(Shared(state): Shared<State>, InPath(id): InPath<String>) -> Outcome {
    match state.gateway.requests().cancel(&id) {
        0 => Err(unknown(&id)),
        requests => {
            tracing::info!(request = id, requests, "request cancelled by an operator");
            let cancelled = Cancelled {
                cancelled: id,
                requests,
            };
            Ok(answer(StatusCode::OK, &cancelled))
        }
    }
}

fn unknown(id: &str) -> Problem {
    Problem::missing(format!("there is no request \"{id}\" any more"))
}

impl Asked {
    fn wants(&self, shown: &Shown) -> bool {
        let is = |asked: &Option<String>, is: &Option<String>| asked.is_none() || asked == is;
        is(&self.model, &shown.model)
            && is(&self.endpoint, &shown.endpoint)
            && (self.status.is_none() || self.status == shown.status)
    }
}

impl Shown {
    fn new(request: &Request) -> Self {
        let last = request.tries_so_far().last();
        let phase = request.phase();
        Self {
            id: request.id().to_owned(),
            path: request.api().path(),
            model: request.model().map(ToString::to_string),
            key: Some(request.key().to_owned()).filter(|key| !key.is_empty()),
            client: request.sender().address,
            endpoint: last.map(|last| last.endpoint.to_string()),
            phase,
            since_ms: ms(request.in_phase()),
            arrived: request.arrived_ms() as f64 / 1_000.0,
            total_ms: ms(request.total()),
            queue_ms: ms(request.queued()),
            first_byte_ms: request.first_byte().map(ms),
            input_tokens: request.input(),
            tokens: request.output(),
            attempts: request.attempts(),
            status: (phase == Phase::Ended).then(|| request.status()),
            cancelled: request.is_cancelled(),
            why: None,
            tries: None,
        }
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
