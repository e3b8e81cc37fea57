//! `/admin/…`: what operators and their programs change while routers run.
//!
//! One file per subject, each a list of [`Route`]s: the same list makes the paths and
//! `/admin/openapi.json`, so that a call which is not described does not exist. [`mod@guard`] decides who
//! may use it, before anything else looks at the request. Errors are `{"error": "…"}`.

mod account;
mod accounts;
mod caller;
mod cluster;
mod endpoint;
mod endpoints;
mod events;
mod extract;
mod guard;
mod members;
mod models;
mod openapi;
mod patch;
mod prices;
mod pulls;
mod redis;
mod requests;
mod spend;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

pub use events::{Actions, Ticks};
use events::{Did, tell};
use extract::{InPath, InQuery, Object};
pub use guard::Admin;
pub(super) use guard::{Peer, check as guard, is_proxied};

use super::error::Refusal;
use super::{State, json};

/// One call, and what programs are told of it.
pub(super) struct Route {
    method: Method,
    /// In axum's notation, which is OpenAPI's.
    path: &'static str,
    /// In a sentence.
    summary: &'static str,
    /// The names of what it takes in the query.
    query: &'static [&'static str],
    /// The schema of its body.
    takes: Option<SchemaOf>,
    /// The schema of its answer.
    gives: Option<SchemaOf>,
    /// What it asks for is done after it has been answered.
    accepted: bool,
    /// What those who watch are told when it is done, in a few words; nothing of calls that only read.
    tells: Option<&'static str>,
    handler: MethodRouter<State>,
}

/// Describes one type, and remembers the types that it refers to.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Every call there is. A subject is added with its line here.
fn all() -> Vec<Route> {
    [
        accounts::routes(),
        members::routes(),
        cluster::routes(),
        endpoints::routes(),
        events::routes(),
        models::routes(),
        prices::routes(),
        pulls::routes(),
        redis::routes(),
        requests::routes(),
        spend::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn routes(state: &State) -> Router<State> {
    let (description, mut paths) = (openapi::describe(&all()), BTreeMap::new());
    for route in all() {
        let methods: &mut MethodRouter<State> = paths.entry(route.path).or_default();
        let handler = match route.tells {
            Some(what) => {
                let told = (state.actions.clone(), what);
                route.handler.route_layer(from_fn_with_state(told, tell))
            }
            None => route.handler,
        };
        *methods = std::mem::take(methods).merge(handler);
    }
    let describe = move || std::future::ready(json(StatusCode::OK, description.clone()));
    let router = Router::new().route("/admin/openapi.json", routing::get(describe));
    paths
        .into_iter()
        .fold(router, |router, (path, methods)| {
            router.route(path, methods.fallback(no_such_method))
        })
        .route("/admin/{*call}", routing::any(no_such_call))
        .route_layer(from_fn_with_state(state.admin.clone(), guard::check))
}

async fn no_such_method() -> Problem {
    let text = "there is no such call: /admin/openapi.json describes what there is";
    Problem(StatusCode::METHOD_NOT_ALLOWED, text.to_owned())
}

async fn no_such_call() -> Problem {
    Problem::missing("there is no such call: /admin/openapi.json describes what there is")
}

impl Route {
    fn get<T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, State>,
    ) -> Self {
        Self::new(Method::GET, path, summary, routing::get(handler))
    }

    fn post<T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, State>,
    ) -> Self {
        Self::new(Method::POST, path, summary, routing::post(handler))
    }

    fn put<T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, State>,
    ) -> Self {
        Self::new(Method::PUT, path, summary, routing::put(handler))
    }

    fn patch<T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, State>,
    ) -> Self {
        Self::new(Method::PATCH, path, summary, routing::patch(handler))
    }

    fn delete<T: 'static>(
        path: &'static str,
        summary: &'static str,
        handler: impl Handler<T, State>,
    ) -> Self {
        Self::new(Method::DELETE, path, summary, routing::delete(handler))
    }

    fn new(
        method: Method,
        path: &'static str,
        summary: &'static str,
        handler: MethodRouter<State>,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            query: &[],
            takes: None,
            gives: None,
            accepted: false,
            tells: None,
            handler,
        }
    }

    /// Names in the query.
    fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    /// The type of the body.
    fn takes<T: JsonSchema>(self) -> Self {
        Self {
            takes: Some(SchemaGenerator::subschema_for::<T>),
            ..self
        }
    }

    /// What those who watch are told when it is done.
    fn tells(self, what: &'static str) -> Self {
        Self {
            tells: Some(what),
            ..self
        }
    }

    /// What it asks for is done after it has been answered.
    fn accepted(self) -> Self {
        Self {
            accepted: true,
            ..self
        }
    }

    /// The type of the answer.
    fn gives<T: JsonSchema>(self) -> Self {
        Self {
            gives: Some(SchemaGenerator::subschema_for::<T>),
            ..self
        }
    }
}

/// Why an admin call was not done.
#[derive(Debug)]
struct Problem(StatusCode, String);

type Outcome = Result<Response, Problem>;

impl Problem {
    fn wrong(what: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, what.into())
    }

    fn missing(what: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, what.into())
    }

    fn conflict(what: impl Into<String>) -> Self {
        Self(StatusCode::CONFLICT, what.into())
    }
}

impl From<crate::store::Error> for Problem {
    fn from(error: crate::store::Error) -> Self {
        let text = format!("the database did not do it: {error}");
        Self(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        Refusal::ollama(self.0, self.1).into_response()
    }
}

impl State {
    /// Does it to its end, whether or not the client waits for it.
    async fn in_background<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.tasks
            .spawn(work)
            .await
            .map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

/// An answer made of `value`.
fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    json(status, serde_json::to_vec(value).unwrap_or_default())
}
