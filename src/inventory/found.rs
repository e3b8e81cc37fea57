//! The servers that nobody named: they were found where the configuration says to look. Pure.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::{Refused, Source};
use crate::config::{Endpoint, is_itself};

/// How many servers can be found.
const MOST: usize = 1_000;

/// A server that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What is known of it.
    pub endpoint: Endpoint,
    /// Where it was found.
    pub source: Source,
}

/// Those that are none of the named ones, by name or address, nor the router that listens there; each once.
pub(super) fn less<'a>(
    found: &'a [Found],
    named: impl Iterator<Item = &'a Endpoint>,
    listen: SocketAddr,
) -> Vec<&'a Found> {
    if found.is_empty() {
        return Vec::new();
    }
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    for other in named {
        names.insert(&*other.name);
        addresses.insert(other.address());
    }
    let is_new = |found: &'a Found| {
        let endpoint = &found.endpoint;
        let is_new = !is_itself(listen, &endpoint.url)
            && !names.contains(&*endpoint.name)
            && addresses.insert(endpoint.address())
            && names.insert(&endpoint.name);
        is_new.then_some(found)
    };
    found.iter().filter_map(is_new).take(MOST).collect()
}

/// Why nothing about the server of this name can be changed, which is not one that was added.
pub(super) fn refused(found: Vec<&Found>, name: &str) -> Refused {
    let name = name.to_owned();
    let known = found.iter().find(|found| found.endpoint.name == name);
    match known.map(|found| found.source) {
        Some(Source::Configured) => Refused::Configured(name),
        Some(_) => Refused::Found(name),
        None => Refused::Missing(name),
    }
}
