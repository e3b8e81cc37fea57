//! `/_sim`: how a test or a person controls a server in a process of its own.
//!
//! Served on the control port, which no fault affects, and on the main port while that is open.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json as value;

use crate::Model;
use crate::answer::Family;
use crate::config::text as duration;
use crate::fault::Rule;
use crate::node::Node;
use crate::wire::Body;

use super::problem::Problem;
use super::reply::{empty, json, read, text};

/// One or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Restart {
    #[serde(with = "duration")]
    pause: Duration,
}

/// Answers one request for `/_sim`.
pub async fn control(node: Arc<Node>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let answer = async {
        let body = read(body).await?;
        Ok(match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/_sim") => json(&value!({
                "node": node.config.node,
                "addr": node.listen_socket.address(),
                "config": *node.config,
            })),
            (&Method::GET, "/_sim/counters") => json(&node.counters()),
            (&Method::POST, "/_sim/faults") => {
                match object::<OneOrMore<Rule>>(&body)? {
                    OneOrMore::One(rule) => node.fault(rule),
                    OneOrMore::More(rules) => rules.into_iter().for_each(|rule| node.fault(rule)),
                }
                empty(StatusCode::NO_CONTENT)
            }
            (&Method::DELETE, "/_sim/faults") => {
                node.clear_faults()
                    .map_err(|error| Problem::internal(error.to_string()))?;
                empty(StatusCode::NO_CONTENT)
            }
            (&Method::POST, "/_sim/models") => {
                let models = match object::<OneOrMore<Model>>(&body)? {
                    OneOrMore::One(model) => vec![model],
                    OneOrMore::More(models) => models,
                };
                node.set_models(&models);
                empty(StatusCode::NO_CONTENT)
            }
            (&Method::POST, "/_sim/restart") => {
                let asked = if body.is_empty() {
                    Restart::default()
                } else {
                    object(&body)?
                };
                restart(&node, asked.pause).await?;
                empty(StatusCode::NO_CONTENT)
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        })
    };
    answer
        .await
        .unwrap_or_else(|problem: Problem| problem.respond(Family::Ollama))
}

/// Restarts in a task: a caller that gives up must not leave the socket closed. On the main port the
/// caller's own connection is among those cut.
async fn restart(node: &Arc<Node>, pause: Duration) -> Result<(), Problem> {
    let restarted = node.clone();
    let done = node
        .tasks
        .spawn(async move { restarted.restart(pause).await })
        .await;
    let failed = |text: String| Problem::internal(text);
    done.map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))
}

fn object<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))
}
