//! A server that its agent has registered, as one of a configuration. Pure.

use std::collections::HashSet;

use super::entry::Entry;
use super::names::Names;
use super::spec::spec;
use crate::config::{Endpoint, Kind, Slots, endpoint_faults};
use crate::fleet::Drain;
use crate::registrar::Registered;

/// A server, as its agent says it is to be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    /// It is to take nothing new.
    pub(super) leaves: bool,
    /// Bytes of its graphics memory.
    pub(super) memory: Option<u64>,
    /// It has been found out whether it is another's.
    pub(super) is_known: bool,
}

impl Server {
    /// What it is called, and where it is.
    pub(super) fn place(&self) -> (String, String) {
        (self.endpoint.name.clone(), self.endpoint.address())
    }
}

/// The names and addresses that servers have.
pub(super) struct Taken {
    names: HashSet<String>,
    addresses: HashSet<String>,
}

impl Taken {
    /// By these.
    pub(super) fn by(entries: &[Entry], known: &Names) -> Self {
        let names = entries.iter().map(|entry| entry.endpoint.name.clone());
        let addresses = entries.iter();
        let addresses = addresses.flat_map(|entry| known.addresses(&entry.endpoint));
        Self {
            names: names.collect(),
            addresses: addresses.collect(),
        }
    }

    /// Whether it is none of them; then it is, from now on.
    pub(super) fn is_new(&mut self, endpoint: &Endpoint, known: &Names) -> bool {
        let addresses = known.addresses(endpoint);
        let mut all = addresses.iter();
        if self.names.contains(&endpoint.name) || all.any(|it| self.addresses.contains(it)) {
            return false;
        }
        self.names.insert(endpoint.name.clone());
        self.addresses.extend(addresses);
        true
    }
}

/// The server that an agent registers, as it would stand in a configuration.
///
/// # Errors
/// What is wrong with it, so that it cannot be used.
pub fn registered_endpoint(registered: &Registered) -> Result<Endpoint, String> {
    let facts = &registered.facts;
    let kind = Kind::parse(&facts.kind);
    let slots = facts.slots.map(serde_json::Value::from);
    let slots = slots.map(serde_json::from_value).transpose();
    let url = registered.url.parse();
    let endpoint = Endpoint {
        name: registered.name.clone(),
        kind: kind.ok_or_else(|| format!("there is no kind \"{}\"", facts.kind))?,
        slots: slots
            .map_err(|error| format!("slots {error}"))?
            .unwrap_or(Slots::Auto),
        weight: facts.weight,
        priority: facts.priority,
        labels: facts.labels.clone(),
        models: match facts.kind.as_str() {
            "openai" => facts.models.clone(),
            _ => Vec::new(),
        },
        ..Endpoint::at(url.map_err(|error| format!("url {error}"))?)
    };
    if let Some(fault) = endpoint_faults(&endpoint).into_iter().next() {
        return Err(fault);
    }
    let spec = spec(&endpoint, Slots::Auto, Drain::Nothing);
    spec.map_err(|error| error.to_string())?;
    Ok(endpoint)
}

/// The same with what its agent says of it. Nothing of what a router of another version has let in and this one cannot use.
pub(super) fn read(registered: &Registered) -> Option<Server> {
    Some(Server {
        endpoint: registered_endpoint(registered).ok()?,
        leaves: registered.facts.draining,
        memory: registered.facts.gpu_memory(),
        is_known: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ServerFacts;

    fn registered(name: &str, url: &str, facts: ServerFacts) -> Registered {
        Registered {
            name: name.to_owned(),
            url: url.to_owned(),
            facts,
        }
    }

    #[test]
    fn what_an_agent_says_is_used_as_if_it_stood_in_the_configuration() {
        let facts = ServerFacts {
            slots: Some(3),
            weight: 2.0,
            draining: true,
            models: vec!["a".to_owned()],
            ..ServerFacts::default()
        };
        let server = read(&registered("gpu-1", "http://gpu-1:11434", facts)).unwrap();
        let endpoint = server.endpoint;
        assert!(server.leaves);
        assert_eq!(
            (endpoint.slots.or(Slots::Auto).get(), endpoint.weight),
            (3, 2.0)
        );
        assert!(endpoint.models.is_empty(), "an Ollama server lists its own");
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let kind = |kind: &str| ServerFacts {
            kind: kind.to_owned(),
            ..ServerFacts::default()
        };
        let weightless = ServerFacts {
            weight: -1.0,
            ..ServerFacts::default()
        };
        for (name, url, facts) in [
            ("a,b", "http://gpu-1:1", ServerFacts::default()),
            ("a", "gpu-1", ServerFacts::default()),
            ("a", "http://gpu-1:1", weightless),
            ("a", "http://gpu-1:1", kind("abacus")),
        ] {
            assert!(
                read(&registered(name, url, facts)).is_none(),
                "{name} {url}"
            );
        }
    }
}
