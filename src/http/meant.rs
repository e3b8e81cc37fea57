//! Which servers a call that changes models is meant for: a label stands for the servers that have it, and who is
//! limited to some servers changes no others.

use std::collections::BTreeSet;

use http::StatusCode;

use super::State;
use crate::access::Scope;
use crate::backend::Kind;
use crate::fleet::{FleetView, Server};
use crate::models::Error;

/// The servers of these names and labels, by name; all that the caller may use, if there are none. An empty
/// list is every server.
///
/// # Errors
/// [`Error`], when the caller may not use one that it names, or none at all.
pub(super) fn servers(
    state: &State,
    scope: &Scope,
    named: Vec<Box<str>>,
) -> Result<Vec<Box<str>>, Error> {
    let (view, limits) = (state.gateway.fleet().view(), scope.servers());
    let is_allowed = |server: &&Server| {
        let is_called = |name: &String| server.endpoint.is_called(name);
        limits.iter().all(|names| names.iter().any(is_called))
    };
    if named.is_empty() && limits.is_empty() {
        return Ok(named);
    }
    let mut meant: BTreeSet<Box<str>> = BTreeSet::new();
    if named.is_empty() {
        meant.extend(managed(&view).filter(is_allowed).map(name));
    }
    for one in named {
        let mut servers = view.servers.iter();
        match servers.find(|server| **server.endpoint.name() == *one) {
            Some(server) if !is_allowed(&server) => return Err(not_allowed(&one)),
            Some(_) => {
                meant.insert(one);
            }
            None => {
                let labelled = managed(&view).filter(|server| server.endpoint.is_called(&one));
                let mut labelled = labelled.peekable();
                if labelled.peek().is_none() {
                    // That there is none of this name is said where servers are chosen.
                    meant.insert(one);
                    continue;
                }
                meant.extend(labelled.filter(is_allowed).map(name));
            }
        }
    }
    match meant.is_empty() {
        true => Err(not_allowed("any server that is meant")),
        false => Ok(meant.into_iter().collect()),
    }
}

/// The servers whose models can be changed, and that are wanted.
fn managed(view: &FleetView) -> impl Iterator<Item = &Server> {
    view.servers.iter().filter(|server| {
        let kind = server.endpoint.settings().backend.kind();
        kind == Kind::Ollama && !server.endpoint.is_draining()
    })
}

fn name(server: &Server) -> Box<str> {
    server.endpoint.name().as_ref().into()
}

fn not_allowed(what: &str) -> Error {
    Error {
        status: StatusCode::FORBIDDEN,
        words: format!(
            "this key may not use '{}'",
            what.chars().take(100).collect::<String>()
        ),
    }
}
