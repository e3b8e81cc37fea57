//! `[discovery]`: servers that are found by names, and in a file.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::EndpointUrl;
use super::validate::Faults;

/// Where DNS is asked, if no port is said.
const PORT: u16 = 53;

/// How many names may be looked up.
const MOST_NAMES: usize = 32;
/// The longest name there is.
const LONGEST_NAME: usize = 253;

/// Where servers are looked for, again and again.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Discovery {
    /// Names with any number of addresses, each of which is a server.
    pub dns: Vec<EndpointUrl>,
    /// Names of services: their SRV records say which hosts and ports there are.
    pub srv: Vec<String>,
    /// A file of `[[endpoint]]`, read again when it changes; empty: none.
    pub file: PathBuf,
    /// Whether to look on the local network.
    pub mdns: bool,
    /// Who is asked for names, as `address` or `address:port`; empty: those the system asks.
    pub nameserver: String,
}

impl Discovery {
    /// Whether servers are looked for at all.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.asks_dns() || self.has_file() || self.mdns
    }

    /// Whether names are looked up.
    #[must_use]
    pub fn asks_dns(&self) -> bool {
        !self.dns.is_empty() || !self.srv.is_empty()
    }

    /// Whether there is a file.
    #[must_use]
    pub fn has_file(&self) -> bool {
        !self.file.as_os_str().is_empty()
    }

    /// Who is asked, if not those whom the system asks.
    #[must_use]
    pub fn nameserver(&self) -> Option<SocketAddr> {
        let written = self.nameserver.as_str();
        let address = || Some((written.parse::<IpAddr>().ok()?, PORT).into());
        written.parse().ok().or_else(address)
    }
}

/// What is wrong with it.
pub(super) fn check(discovery: &Discovery, faults: &mut Faults) {
    for (list, count) in [("dns", discovery.dns.len()), ("srv", discovery.srv.len())] {
        if count > MOST_NAMES {
            let what = format!("has {count} names; {MOST_NAMES} are the most");
            faults.add(format!("discovery.{list}"), what);
        }
    }
    for (at, url) in discovery.dns.iter().enumerate() {
        if let Some(what) = unlike_a_name(url) {
            faults.add(format!("discovery.dns.{at}"), what);
        }
    }
    for (at, name) in discovery.srv.iter().enumerate() {
        if !is_service(name) {
            let what = "must be the name of a service, such as \"_ollama._tcp.example.org\"";
            faults.add(format!("discovery.srv.{at}"), what);
        }
    }
    if !discovery.nameserver.is_empty() && discovery.nameserver().is_none_or(|at| at.port() == 0) {
        let what = "must be an address such as \"10.96.0.10\" or \"127.0.0.1:5353\"";
        faults.add("discovery.nameserver", what);
    }
}

/// Why it is none that can be looked up for its addresses.
fn unlike_a_name(url: &EndpointUrl) -> Option<&'static str> {
    let host = url.uri().host().unwrap_or_default();
    if url.uri().scheme_str() != Some("http") {
        Some(
            "must begin with http://: each address is a server of its own, and certificates are of names",
        )
    } else if !url.prefix().is_empty() {
        Some("may have no path")
    } else if url.host_to_look_up().is_none() {
        Some("is an address, which needs no look-up: make it an [[endpoint]]")
    } else if host.len() > LONGEST_NAME {
        Some("is longer than a name can be")
    } else {
        None
    }
}

/// `_service._protocol.` and a domain.
fn is_service(name: &str) -> bool {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &&str| (1..=63).contains(&label.len()) && label.bytes().all(of_name);
    name.len() <= LONGEST_NAME
        && labels.len() > 2
        && labels.iter().all(is_label)
        && labels.iter().take(2).all(|label| label.starts_with('_'))
}
