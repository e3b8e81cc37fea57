//! Whose word about a client counts.
//!
//! Behind a proxy every connection is the proxy's. It says for whom it asks in `X-Forwarded-For`, and so can
//! anybody; so what that says counts only as far as configured proxies have written it: from its end, up to
//! the first address that is none of theirs. Likewise whether the client's connection is encrypted, in
//! `X-Forwarded-Proto`: of several words the last one is that of the proxy that has connected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::config::Network;
use crate::gateway::{Scheme, Sender};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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

impl ClientAddress {
    /// As far as it is known.
    pub(in crate::http) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Peer(address) | Self::Named(address) => Some(address),
            Self::Unknown => None,
        }
    }
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
        // Each proxy has added its part to what came, whatever that was.
        let written = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut nearest = ClientAddress::Unknown;
        for text in written {
            let address = str::from_utf8(text)
                .ok()
                .and_then(|text| address(text.trim()));
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

    /// Who asks, and how, of a connection from `peer`.
    pub(super) fn sender(&self, peer: SocketAddr, encrypted: bool, headers: &HeaderMap) -> Sender {
        let own = match encrypted {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        let said = match self.trusts(peer.ip().to_canonical()) {
            true => said_scheme(headers),
            false => None,
        };
        Sender {
            address: self.from(peer, headers).address(),
            scheme: said.unwrap_or(own),
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// What the nearest proxy says of the client's connection, if it is a scheme.
fn said_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let line = headers.get_all(&FORWARDED_PROTO).iter().next_back()?;
    let last = line.as_bytes().rsplit(|byte| *byte == b',').next()?;
    let word = str::from_utf8(last).ok()?.trim();
    match word {
        _ if word.eq_ignore_ascii_case("https") => Some(Scheme::Https),
        _ if word.eq_ignore_ascii_case("http") => Some(Scheme::Http),
        _ => None,
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
        for before in ["\u{e9}", "x", "", "\"", "1.2.3.4:x"] {
            let line = format!("{before}, 1.2.3.4");
            assert_eq!(from(proxy, &[&line]), named("1.2.3.4"), "{line}");
        }
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
    fn only_a_proxys_word_about_the_scheme_counts_and_the_nearest_ones() {
        let scheme = |peer: &str, encrypted: bool, lines: &[&str]| {
            let networks = [serde_json::from_value("10.0.0.0/8".into()).unwrap()];
            let headers = lines.iter();
            let headers = headers.map(|line| (FORWARDED_PROTO.clone(), line.parse().unwrap()));
            let proxies = Proxies::new(&networks);
            let sender = proxies.sender(peer.parse().unwrap(), encrypted, &headers.collect());
            assert_eq!(
                sender.address.map(|at| at.to_string()).unwrap(),
                peer[..peer.len() - 2]
            );
            sender.scheme
        };
        let (proxy, other) = ("10.0.0.1:9", "9.9.9.9:9");
        assert_eq!(scheme(proxy, false, &["https"]), Scheme::Https);
        assert_eq!(scheme(proxy, true, &["HTTP"]), Scheme::Http);
        assert_eq!(scheme(proxy, false, &["http, https"]), Scheme::Https);
        assert_eq!(scheme(proxy, false, &["https", "http"]), Scheme::Http);
        for nothing in ["", "wss", "https,", "\u{e9}"] {
            assert_eq!(scheme(proxy, false, &[nothing]), Scheme::Http, "{nothing}");
            assert_eq!(scheme(proxy, true, &[nothing]), Scheme::Https, "{nothing}");
        }
        assert_eq!(scheme(other, false, &["https"]), Scheme::Http);
        assert_eq!(scheme(other, true, &["http"]), Scheme::Https);
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
