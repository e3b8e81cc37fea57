//! What has happened between two ticks: servers that came, went or are in another state, and what operators did.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::json;

use crate::clock;
use crate::cluster::bus::{Bus, Event};
use crate::fleet::StateChange;
use crate::http::State;

/// So many are told in one tick; of more, how many there were.
const MOST_TOLD: usize = 5;
/// How many of the last actions are known.
const MOST_ACTIONS: usize = 64;

/// What operators did last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    done: Arc<ArcSwap<Vec<Done>>>,
    bus: Bus,
}

/// Something that an operator did.
#[derive(Clone, Debug)]
pub(super) struct Action {
    /// In a few words.
    pub(super) what: &'static str,
    /// With which of all.
    pub(super) of: String,
    /// From which address.
    pub(super) by: Option<IpAddr>,
}

#[derive(Clone, Debug)]
struct Done {
    number: u64,
    at: i64,
    action: Arc<Action>,
}

/// Everything that has happened until a moment, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    at: i64,
    servers: HashMap<u64, (Arc<str>, Arc<Vec<StateChange>>)>,
    actions: Arc<Vec<Done>>,
}

impl Actions {
    /// Those that other routers are told of, because they may have changed the database.
    #[must_use]
    pub fn telling(bus: Bus) -> Self {
        Self {
            bus,
            ..Self::default()
        }
    }

    /// An operator did this.
    pub(super) fn done(&self, action: Action) {
        let (at, action) = (clock::unix_seconds(), Arc::new(action));
        self.bus.tell(|| Event::Changed);
        self.done.rcu(|known| {
            let number = known.last().map_or(0, |last| last.number + 1);
            let surplus = (known.len() + 1).saturating_sub(MOST_ACTIONS);
            let mut actions = known[surplus..].to_vec();
            let action = Arc::clone(&action);
            actions.push(Done { number, at, action });
            actions
        });
    }
}

impl Happened {
    pub(super) fn until_now(state: &State) -> Self {
        let observed = state.gateway.fleet().observed();
        let server = |server: crate::fleet::Observed| {
            (server.id.generation, (server.id.name, server.history))
        };
        Self {
            at: clock::unix_seconds(),
            servers: observed.into_iter().map(server).collect(),
            actions: state.actions.done.load_full(),
        }
    }
}

/// What has happened from one moment to another, each as an event's data.
pub(super) fn told(before: &Happened, now: &Happened) -> Vec<Bytes> {
    let mut events = Vec::new();
    let seen = before.actions.last().map(|last| last.number);
    let new = now
        .actions
        .iter()
        .filter(|action| Some(action.number) > seen);
    for Done { at, action, .. } in new {
        let Action { what, of, by } = &**action;
        events.push(json!({"kind": "admin", "at": at, "what": what, "of": of, "by": by}));
    }
    for (id, (name, history)) in &now.servers {
        let known = before.servers.get(id);
        if known.is_none() {
            events.push(json!({"kind": "added", "at": now.at, "server": name, "id": id}));
        }
        let last = known.and_then(|(_, known)| known.last());
        let last = last.map(|last| last.number);
        for change in history.iter().filter(|change| Some(change.number) > last) {
            events.push(json!({
                "kind": "state", "at": change.at, "server": name, "id": id,
                "phase": change.phase, "why": change.why,
            }));
        }
    }
    for (id, (name, _)) in &before.servers {
        if !now.servers.contains_key(id) {
            events.push(json!({"kind": "removed", "at": now.at, "server": name, "id": id}));
        }
    }
    if events.len() > MOST_TOLD {
        let more = events.len() - MOST_TOLD;
        events.truncate(MOST_TOLD);
        events.push(json!({"kind": "more", "at": now.at, "count": more}));
    }
    let encoded = events.iter().map(|event| event.to_string().into());
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Shown;

    fn change(number: u64, at: i64, phase: Shown) -> StateChange {
        StateChange {
            number,
            at,
            phase,
            why: None,
        }
    }

    fn happened(servers: &[(u64, &str, &[StateChange])], actions: &Actions) -> Happened {
        let server = |(id, name, history): &(u64, &str, &[StateChange])| {
            (*id, (Arc::from(*name), Arc::new(history.to_vec())))
        };
        Happened {
            at: 100,
            servers: servers.iter().map(server).collect(),
            actions: actions.done.load_full(),
        }
    }

    #[test]
    fn what_is_new_is_told_and_of_too_much_how_much() {
        let actions = Actions::default();
        let up = change(0, 1, Shown::Up);
        let before = happened(
            &[(1, "a", std::slice::from_ref(&up)), (2, "b", &[])],
            &actions,
        );
        assert!(told(&before, &before).is_empty());
        let (down, again) = (change(1, 5, Shown::Down), change(2, 5, Shown::Up));
        let now = happened(&[(1, "a", &[up, down, again])], &actions);
        let text: Vec<String> = told(&before, &now)
            .iter()
            .map(|event| String::from_utf8_lossy(event).into_owned())
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        {"at":5,"id":1,"kind":"state","phase":"down","server":"a","why":null}
        {"at":5,"id":1,"kind":"state","phase":"up","server":"a","why":null}
        {"at":100,"id":2,"kind":"removed","server":"b"}
        "#);
        for _ in 0..200 {
            actions.done(Action {
                what: "drain",
                of: "a".to_owned(),
                by: None,
            });
        }
        let after = happened(&[(1, "a", &[])], &actions);
        let told = told(&happened(&[(1, "a", &[])], &Actions::default()), &after);
        assert_eq!(told.len(), MOST_TOLD + 1);
        assert!(String::from_utf8_lossy(&told[MOST_TOLD]).contains(r#""count":59"#));
    }
}
