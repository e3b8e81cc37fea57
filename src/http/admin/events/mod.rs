//! `/admin/events`: everything as it is, and then what changes, as server-sent events.
//!
//! | event | when | data |
//! |---|---|---|
//! | `hello` | first | which router and which run of it, its version and its time |
//! | `snapshot` | after `hello`, and for who has missed something | a topic as a table: rows by number, columns named once |
//! | `delta` | at most twice a second; an empty one after two seconds without another | what is other: new rows, changed fields, removed rows |
//! | `event` | at most ten a second, then how many more | a server came, went or is in another state; an operator did something |
//! | `job` | at most twice a second for each | a pull, whole, each time it has got on |
//! | `bye` | before the router stops, or when the key is no admin key any more | why, and when to come back if that helps |
//!
//! What is shown is made once for all who watch ([`tick`]), and there is no queue for who reads slowly.

mod happened;
mod jobs;
mod table;
mod tell;
mod tick;
mod topics;

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State as Shared;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_util::stream::unfold;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

pub use happened::Actions;
pub(super) use tell::{Did, tell};
pub use tick::Ticks;
use topics::Topic;

use super::caller::Caller;
use super::{InQuery, Outcome, Problem, Route};
use crate::clock;
use crate::http::State;

/// So many ticks without anything new, and an empty delta shows that there is still somebody.
const QUIET: u64 = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Separated by commas; the overview where none is named.
    topics: Option<String>,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/admin/events",
            "Shows topics (overview, servers, models, requests, system, jobs) as they are and then what changes, as server-sent events",
            watch,
        )
        .query(&["topics"]),
    ]
}

async fn watch(
    Shared(state): Shared<State>,
    InQuery(asked): InQuery<Asked>,
    caller: Caller,
) -> Outcome {
    let watcher = Watcher::new(state, caller, topics(asked.topics.as_deref())?);
    let events = unfold(watcher, async |mut watcher| {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let mut answer = Sse::new(events).into_response();
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(answer)
}

fn topics(asked: Option<&str>) -> Result<Vec<Topic>, Problem> {
    let mut topics = Vec::new();
    for name in asked.unwrap_or(Topic::Overview.as_str()).split(',') {
        let Some(topic) = Topic::parse(name.trim()) else {
            let all = Topic::ALL.map(Topic::as_str).join(", ");
            return Err(Problem::wrong(format!(
                "topics: \"{name}\" is none of {all}"
            )));
        };
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

/// One who watches.
struct Watcher {
    state: State,
    /// Who it is: another admin key may be set meanwhile.
    caller: Caller,
    topics: Vec<Topic>,
    closing: CancellationToken,
    /// Made, and not sent yet: what is of one tick.
    made: VecDeque<Event>,
    /// The last tick that was shown; none before the first.
    shown: Option<u64>,
    /// The last tick that had something new.
    told: u64,
    over: bool,
}

impl Watcher {
    fn new(state: State, caller: Caller, topics: Vec<Topic>) -> Self {
        let hello = json!({
            "router": state.instance.id(),
            "run": state.instance.id(),
            "version": env!("CARGO_PKG_VERSION"),
            "time": clock::unix_seconds(),
            "zone": "UTC",
            "scope": "everything",
            "topics": topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(),
        });
        Self {
            closing: state.gateway.closing(),
            made: VecDeque::from([event("hello", hello.to_string().as_bytes())]),
            state,
            caller,
            topics,
            shown: None,
            told: 0,
            over: false,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.made.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            if let Some(shown) = self.shown {
                tokio::select! {
                    () = sleep_until(self.state.ticks.begins(shown + 1)) => {}
                    () = self.closing.cancelled() => {
                        self.over = true;
                        return Some(event("bye", br#"{"reason":"the router stops","retry_after":1}"#));
                    }
                }
            }
            if !self.caller.may(&self.state.admin) {
                self.over = true;
                return Some(event(
                    "bye",
                    br#"{"reason":"the admin key is another one now"}"#,
                ));
            }
            self.show().await;
        }
    }

    /// What is to be shown of the tick that is now.
    async fn show(&mut self) {
        let tick = self.state.ticks.now();
        let follows = self.shown.is_some_and(|shown| shown + 1 == tick.number);
        let is_first = self.shown.is_none();
        self.shown = Some(tick.number);
        for topic in self.topics.clone() {
            tick.prepare(topic, &self.state).await;
            let delta = match follows {
                true => tick.delta(topic),
                false => Err(tick::Missed),
            };
            match delta {
                Ok(_) if topic == Topic::Jobs => {
                    let jobs = tick.jobs().iter();
                    self.made.extend(jobs.map(|data| event("job", data)));
                }
                Ok(Some(delta)) => self.made.push_back(event("delta", &delta)),
                Ok(None) => {}
                Err(tick::Missed) => {
                    let snapshot = tick.snapshot(topic);
                    self.made.push_back(event("snapshot", &snapshot));
                }
            }
        }
        let happened = tick.events(&self.state);
        if !is_first {
            self.made
                .extend(happened.iter().map(|data| event("event", data)));
        }
        if self.made.is_empty() && tick.number >= self.told + QUIET {
            let empty = format!(r#"{{"tick":{}}}"#, tick.number);
            self.made.push_back(event("delta", empty.as_bytes()));
        }
        if !self.made.is_empty() {
            self.told = tick.number;
        }
    }
}

fn event(name: &str, data: impl AsRef<[u8]>) -> Event {
    let data: &[u8] = data.as_ref();
    Event::default()
        .event(name)
        .data(String::from_utf8_lossy(data))
}
