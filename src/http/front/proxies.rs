//! Whose word about a client counts.
//!
//! Behind a proxy every connection is the proxy's. It says for whom it asks in `X-Forwarded-For`, and so can
//! anybody; so what that says counts only as far as configured proxies have written it: from its end, up to
//! the first address that is none of theirs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::config::Network;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies that are trusted. Clones share them.
#[derive(Clone, Debug)]
pub struct Proxies(Arc<[Network]>);

/// From where a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum ClientAddress {
    /// Whoever made the connection.
    Peer(IpAddr),
    /// Whom a trusted proxy names.
    Named(IpAddr),
    /// A trusted proxy has written no address.
    Unknown,
}

impl Proxies {
    /// Those in these networks.
    #[must_use]
    pub fn new(networks: &[Network]) -> Self {
        Self(networks.into())
    }

    /// Who asks, of a connection from `peer`.
    pub(super) fn from(&self, peer: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.ip().to_canonical();
        if !self.trusts(peer) || !headers.contains_key(&FORWARDED_FOR) {
            return ClientAddress::Peer(peer);
        }
        let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
        let written = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        let mut nearest = ClientAddress::Unknown;
        for address in written.map(|text| address(text.trim())) {
            match address {
                None => return ClientAddress::Unknown,
                Some(address) => nearest = ClientAddress::Named(address),
            }
            if address.is_some_and(|address| !self.trusts(address)) {
                break;
            }
        }
        // A proxy on another machine has neighbours of its own, which are not this router's.
        match nearest {
            ClientAddress::Named(address) if address.is_loopback() && !peer.is_loopback() => {
                ClientAddress::Unknown
            }
            nearest => nearest,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    alone
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, lines: &[&str]) -> ClientAddress {
        let networks = ["10.0.0.0/8", "127.0.0.1"];
        let networks = networks.map(|network| serde_json::from_value(network.into()).unwrap());
        let headers = lines.iter();
        let headers = headers.map(|line| (FORWARDED_FOR.clone(), line.parse().unwrap()));
        Proxies::new(&networks).from(peer.parse().unwrap(), &headers.collect())
    }

    fn named(address: &str) -> ClientAddress {
        ClientAddress::Named(address.parse().unwrap())
    }

    #[test]
    fn the_nearest_address_that_is_no_proxys_is_the_clients() {
        let proxy = "10.0.0.1:9";
        assert_eq!(from(proxy, &["1.2.3.4"]), named("1.2.3.4"));
        assert_eq!(
            from(proxy, &["127.0.0.1, 1.2.3.4, 10.9.9.9"]),
            named("1.2.3.4")
        );
        assert_eq!(
            from(proxy, &["6.6.6.6", "1.2.3.4", "10.9.9.9"]),
            named("1.2.3.4")
        );
        assert_eq!(from(proxy, &["[2001:db8::1]:443"]), named("2001:db8::1"));
        assert_eq!(from(proxy, &["1.2.3.4:80"]), named("1.2.3.4"));
        assert_eq!(
            from("[::ffff:10.0.0.1]:9", &["::ffff:1.2.3.4"]),
            named("1.2.3.4")
        );
        assert_eq!(
            from(proxy, &["10.0.0.3, 10.0.0.2"]),
            named("10.0.0.3"),
            "all are proxies"
        );
    }

    #[test]
    fn only_a_proxy_on_this_machine_may_speak_for_this_machine() {
        assert_eq!(from("127.0.0.1:9", &["127.0.0.1"]), named("127.0.0.1"));
        assert_eq!(from("127.0.0.1:9", &["::1"]), named("::1"));
        for local in [
            "127.0.0.1",
            "::1",
            "127.0.0.1, 10.0.0.9",
            "127.0.0.1, 127.0.0.1",
        ] {
            assert_eq!(
                from("10.0.0.1:9", &[local]),
                ClientAddress::Unknown,
                "{local}"
            );
        }
    }

    #[test]
    fn whoever_is_no_proxy_names_nobody_and_what_is_no_address_is_none() {
        let peer = ClientAddress::Peer("9.9.9.9".parse().unwrap());
        assert_eq!(from("9.9.9.9:1", &["127.0.0.1"]), peer);
        for nobody in ["unknown", "", "1.2.3.4, _hidden", "\u{e9}"] {
            assert_eq!(
                from("127.0.0.1:1", &[nobody]),
                ClientAddress::Unknown,
                "{nobody}"
            );
        }
        assert_eq!(
            from("127.0.0.1:1", &[]),
            ClientAddress::Peer("127.0.0.1".parse().unwrap())
        );
    }
}
