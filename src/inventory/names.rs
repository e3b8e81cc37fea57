//! Which addresses host names lead to: a server is often named by its host here, and by its address there.
//!
//! Nobody waits for a look-up. It is a task of the inventory's, limited in time; what it finds counts when it has been found, and
//! what could not be looked up now is as it was. On the ports of the web a name is its own server: there, proxies tell
//! servers apart by their names. The addresses of this machine are one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use crate::config::{Endpoint, is_own_address};

/// For all look-ups of one task.
const LIMIT: Duration = Duration::from_secs(3);
/// How many names are looked up at once.
const AT_ONCE: usize = 16;
/// Behind these ports proxies tell servers apart by their names.
const PORTS_OF_PROXIES: [u16; 2] = [80, 443];

/// What look-ups have found, by host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names(BTreeMap<String, Vec<IpAddr>>);

/// A host and its addresses; none where it could not be looked up.
pub(super) type LookedUp = (String, Option<Vec<IpAddr>>);

impl Names {
    /// All hosts have been looked up; of others nothing is known any more.
    pub(super) fn after(&self, found: Vec<LookedUp>) -> Self {
        let kept = |(host, addresses): LookedUp| {
            let before = || self.0.get(&host).cloned().unwrap_or_default();
            let addresses = addresses.unwrap_or_else(before);
            (host, addresses)
        };
        Self(found.into_iter().map(kept).collect())
    }

    /// Whether this one has been looked up.
    pub(super) fn has(&self, host: &str) -> bool {
        self.0.contains_key(host)
    }

    /// Whether it is known where its host leads.
    pub(super) fn tell(&self, endpoint: &Endpoint) -> bool {
        host(endpoint).is_none_or(|(host, _)| self.has(&host))
    }

    /// On which ports there are some of which it is not known where they lead.
    pub(super) fn lack<'a>(&self, those: impl Iterator<Item = &'a Endpoint>) -> BTreeSet<u16> {
        let unknown = those.filter(|endpoint| !self.tell(endpoint));
        unknown.filter_map(port).collect()
    }

    /// Every way to write where it is, [`Endpoint::address`] first.
    pub(super) fn addresses(&self, endpoint: &Endpoint) -> Vec<String> {
        let written = endpoint.address();
        let found = host(endpoint).and_then(|(host, port)| Some((self.0.get(&host)?, port)));
        let Some((found, port)) = found else {
            return vec![written];
        };
        let path = written.strip_prefix(&endpoint.url.reached()).unwrap_or("");
        let others = found
            .iter()
            .map(|ip| format!("{}{path}", SocketAddr::new(*ip, port)));
        let others: Vec<String> = others.collect();
        std::iter::once(written).chain(others).collect()
    }
}

/// The host to look up, and the port. Of loopback there is nothing to find out.
fn host(endpoint: &Endpoint) -> Option<(String, u16)> {
    let (host, port) = place(endpoint)?;
    let is_loopback = address(&host).is_some_and(|ip| ip.is_loopback());
    (!is_loopback).then_some((host, port))
}

/// The port, if it is not a proxy's.
pub(super) fn port(endpoint: &Endpoint) -> Option<u16> {
    place(endpoint).map(|(_, port)| port)
}

fn place(endpoint: &Endpoint) -> Option<(String, u16)> {
    let reached = endpoint.url.reached();
    let (host, port) = reached.rsplit_once(':')?;
    let port = port.parse().ok()?;
    (!PORTS_OF_PROXIES.contains(&port)).then(|| (host.to_owned(), port))
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

/// The hosts that have to be known for telling these servers from those, which are on the same ports.
pub(super) fn hosts<'a>(
    these: impl Iterator<Item = &'a Endpoint>,
    those: impl Iterator<Item = &'a Endpoint>,
) -> BTreeSet<String> {
    let (mut ports, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for endpoint in these {
        ports.extend(port(endpoint));
        hosts.extend(host(endpoint).map(|(host, _)| host));
    }
    let those = those.filter_map(host);
    hosts.extend(
        those
            .filter(|(_, port)| ports.contains(port))
            .map(|(host, _)| host),
    );
    hosts
}

/// Looks them up.
pub(super) async fn look_up(hosts: BTreeSet<String>) -> Vec<LookedUp> {
    let until = Instant::now() + LIMIT;
    let look_up = |host: String| async move {
        let found = match address(&host) {
            Some(ip) => Some(vec![ip]),
            None => {
                let found = timeout_at(until, lookup_host((host.as_str(), 0))).await;
                let found = found.ok().and_then(Result::ok);
                found.map(|found| found.map(|at| at.ip().to_canonical()).collect())
            }
        };
        (host, found.map(with_own))
    };
    iter(hosts)
        .map(look_up)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// Under all of its addresses this machine is one.
fn with_own(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if !addresses.contains(&loopback) && addresses.iter().any(|ip| is_own_address(*ip)) {
        addresses.push(loopback);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Endpoint {
        Endpoint::at(url.parse().unwrap())
    }

    fn found(host: &str, addresses: &[&str]) -> LookedUp {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap());
        (host.to_owned(), Some(addresses.collect()))
    }

    #[test]
    fn a_server_is_known_under_its_host_and_all_its_addresses() {
        let names = Names::default().after(vec![found("gpu-1", &["10.0.0.1", "fd00::1"])]);
        let addresses = names.addresses(&server("http://GPU-1:11434/ollama"));
        let expected = [
            "gpu-1:11434/ollama",
            "10.0.0.1:11434/ollama",
            "[fd00::1]:11434/ollama",
        ];
        assert_eq!(addresses, expected);
        // On the ports of proxies the name is what counts.
        let web = server("http://gpu-1");
        assert_eq!(names.addresses(&web), ["gpu-1:80"]);
        assert!(names.tell(&web) && names.tell(&server("http://127.0.0.1:11434")));
        assert!(
            !names.tell(&server("http://gpu-2:11434")),
            "not looked up yet"
        );
    }

    #[test]
    fn what_cannot_be_looked_up_now_is_as_it_was() {
        let names = Names::default().after(vec![found("gpu-1", &["10.0.0.1"])]);
        let fails = |names: &Names, host: &str| names.after(vec![(host.to_owned(), None)]);
        assert_eq!(fails(&names, "gpu-1"), names);
        let new = fails(&names, "gpu-2");
        assert!(new.has("gpu-2") && !new.has("gpu-1"));
        let gpu = server("http://gpu-2:11434");
        assert_eq!(new.addresses(&gpu), ["gpu-2:11434"]);
    }

    #[test]
    fn only_hosts_on_the_same_ports_are_looked_up() {
        let these = [
            server("http://10.0.0.1:11434"),
            server("http://127.0.0.1:11450"),
        ];
        let those = [
            server("http://gpu-1:11434"),
            server("http://gpu-2:11450"),
            server("http://gpu-4:11500"),
            server("https://gpu-3"),
        ];
        let hosts = hosts(these.iter(), those.iter());
        assert_eq!(Vec::from_iter(hosts), ["10.0.0.1", "gpu-1", "gpu-2"]);
    }

    #[tokio::test]
    async fn this_machine_is_one_under_all_its_addresses_and_a_name_that_is_nobody_s_is_none() {
        let hosts = ["127.0.0.2", "203.0.113.9", "nobody.invalid"];
        let found = look_up(hosts.iter().map(|host| (*host).to_owned()).collect()).await;
        let names = Names::default().after(found);
        let own = names.0["127.0.0.2"].clone();
        assert!(own.contains(&Ipv4Addr::LOCALHOST.into()), "{own:?}");
        assert_eq!(names.0["203.0.113.9"].len(), 1);
        assert!(names.0["nobody.invalid"].is_empty());
    }
}
