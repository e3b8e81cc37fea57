//! `/api/controller/…`: where agents of servers and workers of DB-GPT register.
//!
//! The calls, bodies and answers are those of DB-GPT's controllers, so that its workers and its `model list` can be given
//! this router's address. herdsman's agents use the same paths with a part of their own in the body
//! ([`agent`]). Lists come from the registrar's view; whoever writes waits for the database, no longer than
//! the registrar's bound, and is told 503 then: it comes again, or goes to another router.
//!
//! Every path is there under `/k/KEY/` too, for programs that can be given an address and no key.

mod agent;
mod instance;
mod joiners;
mod reply;

use axum::Router;
use axum::extract::{RawQuery, State as Shared};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

pub use joiners::Joiners;

use super::body::Small;
use super::{State, json};
use crate::registrar::{WORKER_TERM, millis};
use crate::store::{InstanceKey, InstanceKind, Joined, Joining};
use instance::{Asked, Left, Said};
use joiners::Joiner;
use reply::{Answer, Problem, unprocessable};

const HEALTH: &str = "/api/health";
const MODELS: &str = "/api/controller/models";
const HEARTBEAT: &str = "/api/controller/heartbeat";
/// Before a path: a key for programs that can be given none.
const KEYED: &str = "/k/{key}";

pub(super) fn routes() -> Router<State> {
    let paths = |before: &str| {
        Router::new()
            .route(&format!("{before}{HEALTH}"), get(health))
            .route(
                &format!("{before}{MODELS}"),
                get(list).post(register).delete(leave),
            )
            .route(
                &format!("{before}{HEARTBEAT}"),
                axum::routing::post(heartbeat),
            )
    };
    paths("").merge(paths(KEYED))
}

/// Whether it is the path of one of these calls.
pub(super) fn is_at(path: &str) -> bool {
    path.starts_with("/api/controller/") || path.starts_with("/k/")
}

/// Of this router alone: whether the database is there is not for those who look for a router.
async fn health() -> Response {
    json(StatusCode::OK, r#"{"status":"ok"}"#)
}

async fn list(_: Joiner, Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let asked = Asked::read(query.as_deref().unwrap_or_default())?;
    Ok(reply::of(&instance::listed(
        &state.registrar.view(),
        &asked,
    )))
}

async fn register(_: Joiner, Shared(state): Shared<State>, Small(body): Small) -> Answer {
    let said = Said::read(&body)?;
    match said.agent {
        Some(agent) => agent::register(&state, agent).await,
        None => {
            let joined = state.registrar.join(joining(&said)).await;
            entered(joined?)
        }
    }
}

async fn heartbeat(_: Joiner, Shared(state): Shared<State>, Small(body): Small) -> Answer {
    let said = Said::read(&body)?;
    match said.agent {
        Some(agent) => agent::renew(&state, agent).await,
        None => {
            let beaten = state.registrar.beat(joining(&said)).await;
            entered(beaten?)
        }
    }
}

async fn leave(_: Joiner, Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let left = Left::read(query.as_deref().unwrap_or_default())?;
    let key = InstanceKey {
        kind: InstanceKind::Worker,
        name: left.model_name,
        host: left.host,
        port: left.port,
    };
    let left = state.registrar.leave(key, left.remove).await;
    left?;
    Ok(json(StatusCode::OK, "true"))
}

/// A worker of DB-GPT knows no incarnations: whoever is at its address is it.
fn joining(said: &Said) -> Joining {
    Joining {
        key: InstanceKey {
            kind: InstanceKind::Worker,
            name: said.model_name.clone(),
            host: said.host.clone(),
            port: said.port,
        },
        url: String::new(),
        run: String::new(),
        lease_ms: millis(WORKER_TERM),
        facts: said.facts(),
    }
}

fn entered(joined: Joined) -> Answer {
    match joined {
        Joined::As(_) | Joined::Taken(_) | Joined::Held(_) => Ok(json(StatusCode::OK, "true")),
        Joined::Full => Err(reply::full()),
    }
}

/// The text of a query, by name; what is there twice, the last time.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned()
}

fn port(written: &str) -> Result<u16, Problem> {
    let port = written.trim().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| unprocessable(&["query", "port"], "port must be a number up to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_calls_need_to_know_who_asks() {
        for path in [MODELS, HEARTBEAT, "/k/x/api/controller/models"] {
            assert!(is_at(path), "{path}");
        }
        for path in [HEALTH, "/api/chat", "/v1/models", "/key"] {
            assert!(!is_at(path), "{path}");
        }
    }
}
