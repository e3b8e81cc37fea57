//! herdsman's own agents: a name, an address, and incarnations.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::reply::{self, Answer, Problem, detail, unprocessable};
use crate::config::Endpoint;
use crate::domain::{MAX_FACT_MODELS, ServerFacts};
use crate::http::State;
use crate::inventory::registered_endpoint;
use crate::registrar::{RENEWAL, Registered, TERM, millis};
use crate::store::{
    InstanceKey, InstanceKind, Joined, Joining, MAX_INSTANCE_FACTS, MAX_INSTANCE_URL, Renewed,
};

/// The longest id of a run.
const MAX_RUN: usize = 64;

/// The part of a body that is an agent's.
#[derive(Deserialize)]
pub(super) struct Agent {
    name: String,
    url: String,
    /// This run of it, as no other ever was.
    run: String,
    /// As it was told when it registered.
    #[serde(default)]
    incarnation: i64,
    /// Its registration is to end.
    #[serde(default)]
    leaving: bool,
    facts: ServerFacts,
}

/// Registers it. Of two with one name, or of one address, the one that is there keeps it; the same server's agent,
/// started again, takes over.
pub(super) async fn register(state: &State, agent: Agent) -> Answer {
    let joining = agent.joining()?;
    let url = joining.url.clone();
    match state.registrar.join(joining).await? {
        Joined::As(incarnation) => Ok(agent.registered(state, incarnation)),
        Joined::Taken(by) => {
            let text = format!(
                "another agent has the name \"{}\": that of the server at {by}",
                agent.name
            );
            Err(detail(StatusCode::CONFLICT, &text))
        }
        Joined::Held(by) => {
            let text = format!(
                "another agent has the server at {url}: \"{by}\". It is its until ten seconds after that agent has ended"
            );
            Err(detail(StatusCode::CONFLICT, &text))
        }
        Joined::Full => Err(reply::full()),
    }
}

/// Renews or ends its registration.
pub(super) async fn renew(state: &State, agent: Agent) -> Answer {
    let mut joining = agent.joining()?;
    if agent.leaving {
        joining.lease_ms = 0;
    }
    let renewed = state.registrar.renew(joining, agent.incarnation).await;
    match renewed? {
        Renewed::Yes => Ok(agent.registered(state, agent.incarnation)),
        Renewed::Unknown => Err(detail(
            StatusCode::NOT_FOUND,
            "not registered: register again",
        )),
        Renewed::Over => {
            let text =
                "this registration was ended, or another agent of this server has taken over";
            Err(detail(StatusCode::CONFLICT, text))
        }
    }
}

impl Agent {
    fn joining(&self) -> Result<Joining, Problem> {
        let wrong = |what: &str, why: &str| unprocessable(&["body", "agent", what], why);
        let registered = Registered {
            name: self.name.clone(),
            url: self.url.clone(),
            facts: self.facts.clone(),
        };
        let endpoint = registered_endpoint(&registered).map_err(|fault| wrong("facts", &fault))?;
        if self.name.is_empty() || self.name.contains('@') {
            return Err(wrong("name", "name must not be empty or have an @ in it"));
        }
        let is_run = |run: &str| run.len() <= MAX_RUN && run.bytes().all(|b| b.is_ascii_graphic());
        if self.run.is_empty() || !is_run(&self.run) {
            return Err(wrong("run", "run must be an id"));
        }
        if self.url.len() > MAX_INSTANCE_URL || !self.url.is_ascii() {
            return Err(wrong("url", "url must be at most 600 ASCII characters"));
        }
        let facts = written(&self.facts).ok_or_else(|| wrong("facts", "facts are too long"))?;
        Ok(Joining {
            key: InstanceKey {
                kind: InstanceKind::Agent,
                name: self.name.clone(),
                host: String::new(),
                port: 0,
            },
            url: root(&endpoint),
            run: self.run.clone(),
            lease_ms: millis(TERM),
            facts,
        })
    }

    /// What it is told: how it is registered, and what still runs there through this router.
    fn registered(&self, state: &State, incarnation: i64) -> Response {
        let observed = state.gateway.fleet().observed();
        let named = observed
            .iter()
            .filter(|server| *server.id.name == *self.name);
        let in_flight: u32 = named.map(|server| server.in_flight).sum();
        reply::of(&json!({
            "incarnation": incarnation,
            "term_ms": millis(TERM),
            "renew_ms": millis(RENEWAL),
            "in_flight": in_flight,
        }))
    }
}

/// The same however it is written, so that two can be compared. Of `https` it is left: certificates are of names.
fn root(endpoint: &Endpoint) -> String {
    match endpoint.url.uri().scheme_str() {
        Some("http") => format!("http://{}", endpoint.address()),
        _ => endpoint.url.as_str().to_owned(),
    }
}

/// What is kept of it, with as many models as there is room for: what a server has is asked of itself in any case.
/// Nothing, if the rest is too long.
fn written(facts: &ServerFacts) -> Option<String> {
    let mut facts = facts.clone();
    let mut most = MAX_FACT_MODELS;
    loop {
        if most < facts.models.len() && facts.kind == "openai" {
            // It is used for those it names: not for some of them.
            facts.models.clear();
        }
        facts.models.truncate(most);
        facts.loaded.truncate(most);
        let written = serde_json::to_string(&facts).ok()?;
        if written.len() <= MAX_INSTANCE_FACTS {
            return Some(written);
        }
        if most == 0 {
            return None;
        }
        most = most.min(facts.models.len().max(facts.loaded.len())) / 2;
    }
}

/// The host and the port of an address, as a worker has them.
pub(super) fn place(url: &str) -> (String, u16) {
    let Ok(url) = url::Url::parse(url) else {
        return (String::new(), 0);
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    (host, url.port_or_known_default().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_list_of_models_as_much_is_kept_as_there_is_room_for() {
        let names = |n: usize| (0..n).map(|i| format!("model-{i}:latest")).collect();
        let facts = |kind: &str, n| ServerFacts {
            kind: kind.to_owned(),
            models: names(n),
            ..ServerFacts::default()
        };
        let kept = |facts: &ServerFacts| -> ServerFacts {
            let written = written(facts).unwrap();
            assert!(written.len() <= MAX_INSTANCE_FACTS);
            serde_json::from_str(&written).unwrap()
        };
        assert_eq!(kept(&facts("ollama", 100)), facts("ollama", 100));
        let some = kept(&facts("ollama", 5_000)).models.len();
        assert!((200..1_000).contains(&some), "{some}");
        assert_eq!(kept(&facts("openai", 100)).models.len(), 100);
        assert_eq!(kept(&facts("openai", 900)).models.len(), 0, "not some");
        let long = ServerFacts {
            why: Some("x".repeat(MAX_INSTANCE_FACTS)),
            ..ServerFacts::default()
        };
        assert_eq!(written(&long), None);
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let written = |url: &str| root(&Endpoint::at(url.parse().unwrap()));
        for url in [
            "http://GPU-1:11434",
            "http://gpu-1:11434/",
            "HTTP://gpu-1.:11434",
        ] {
            assert_eq!(written(url), "http://gpu-1:11434", "{url}");
        }
        assert_eq!(written("http://localhost"), "http://127.0.0.1:80");
        assert_eq!(written("https://localhost/"), "https://localhost");
    }
}
