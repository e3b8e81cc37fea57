//! Under which names the router may be asked.

use std::net::IpAddr;
use std::sync::Arc;

use super::origins::matches;
use crate::config::is_own_name;

/// The names that count, beside those that no public DNS serves. Clones share them.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// In lower case; `*` stands for any text.
    names: Arc<[String]>,
    /// Names that do not count are refused.
    guards: bool,
}

impl Hosts {
    /// The names in `hosts`, and those of pages in `origins`: whoever lets the page of a name call knows that
    /// name. Only on loopback are others refused: there a page could have its own name resolved to 127.0.0.1.
    #[must_use]
    pub fn new(hosts: &[String], origins: &[String], on_loopback: bool) -> Self {
        let of_pages = origins
            .iter()
            .filter_map(|origin| origin.split_once("://").map(|(_, site)| name(site)));
        let names = hosts.iter().map(String::as_str).chain(of_pages);
        Self {
            names: names.map(str::to_ascii_lowercase).collect(),
            guards: on_loopback,
        }
    }

    /// Whether a request to this host is answered.
    pub(super) fn allow(&self, host: &str) -> bool {
        !self.guards || self.knows(host)
    }

    /// Whether it is this machine, or a name that is configured.
    fn knows(&self, host: &str) -> bool {
        is_this_machine(host) || {
            let name = name(host).trim_end_matches('.').to_ascii_lowercase();
            self.names.iter().any(|rule| matches(rule, &name))
        }
    }
}

/// The name without its port.
pub(super) fn name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Ollama's rule for servers on loopback: addresses of private networks and names that no public
/// DNS serves. No stranger can have made up such a name, and no tunnel comes under one: whom the configured
/// names let in may be anybody.
pub(super) fn is_this_machine(host: &str) -> bool {
    let name = name(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return is_local(address);
    }
    let name = name.to_ascii_lowercase();
    name.is_empty()
        || name == "localhost"
        || is_own_name(&name)
        || [".localhost", ".local", ".internal"]
            .iter()
            .any(|end| name.ends_with(end))
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_unspecified() || v4.is_link_local()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_public_dns_serves_are_this_machine() {
        for host in [
            "",
            "localhost:11435",
            "127.0.0.1",
            "[::1]:11435",
            "192.168.1.4:80",
            "a.local",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["evil.test", "8.8.8.8", "localhost.evil.test:11435", "?"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn names_of_tunnels_and_of_pages_that_may_call_count_and_their_likes_do_not() {
        let hosts = ["abc.tunnel.test".to_owned(), "*.Lan.test".to_owned()];
        let origins = ["https://chat.example.com:8443", "https://*.pages.test", "*"];
        let hosts = Hosts::new(&hosts, &origins.map(str::to_owned), true);
        for host in [
            "abc.tunnel.test",
            "ABC.tunnel.test:443",
            "abc.tunnel.test.",
            "gpu.lan.test:11435",
            "chat.example.com",
            "a.pages.test",
            "localhost:11435",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "tunnel.test",
            "x.abc.tunnel.test",
            "abc.tunnel.test.evil.test",
            "lan.test",
            "evil.test",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
        assert!(Hosts::new(&[], &[], false).allow("evil.test"));
        assert!(!Hosts::new(&[], &[], true).allow("evil.test"));
        for tunnel in ["abc.tunnel.test", "gpu.lan.test", "chat.example.com"] {
            assert!(!is_this_machine(tunnel), "{tunnel}");
        }
        assert!(Hosts::new(&["*".to_owned()], &[], true).allow("any.test"));
    }
}
