//! Who may use the admin API.
//!
//! With an admin key: whoever sends it. Without one: this machine itself, and nothing that is only
//! proxied by it. A proxy or a tunnel on this machine is recognised by the headers they add, and by the name under
//! which it comes, as is a page that had its own name resolved to this machine. That a name is configured
//! (`server.hosts`) lets it ask, and does not make it this machine.
//!
//! No web page may, but those of this router itself, and those whose origin the configuration has in full,
//! whatever they send: a browser adds what it knows of a site (a password, its place in the network) to the requests
//! of other sites as well. An origin that only matches one of the configuration (`*`) is a stranger's.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use super::Problem;
use crate::http::credentials;
use crate::http::front::ClientAddress;

/// The admin key. Clones share it.
#[derive(Clone)]
pub struct Admin {
    /// SHA-256 of the key; nothing without one.
    key: Arc<ArcSwapOption<[u8; 32]>>,
}

/// Who asks, and what it calls this router.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Peer {
    pub(in crate::http) from: ClientAddress,
    /// By a name or an address of this machine.
    pub(in crate::http) named: bool,
    /// It is a page, and the configuration has its origin.
    pub(in crate::http) trusted: bool,
}

/// How the headers begin by which a proxy, a tunnel or a content delivery network says for whom it asks, or only
/// that it does.
const OF_PROXIES: [&str; 22] = [
    "appengine-",
    "cdn-loop",
    "cf-",
    "client-ip",
    "do-connecting-ip",
    "fastly-",
    "fly-",
    "forwarded",
    "proxy-client-ip",
    "tailscale-",
    "true-client-ip",
    "via",
    "wl-proxy-",
    "x-amzn-",
    "x-appengine-",
    "x-azure-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-",
    "x-forwarded",
    "x-original-",
    "x-real-ip",
];

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Admin {
    /// With this key; the empty one is none.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let admin = Self {
            key: Arc::default(),
        };
        admin.set_key(key);
        admin
    }

    /// From now on this key is needed.
    pub fn set_key(&self, key: &str) {
        let key = (!key.is_empty()).then(|| Arc::new(hash(key)));
        self.key.store(key);
    }

    /// Whether a request with these headers shows the admin key, if there is one.
    pub(in crate::http) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let key = self.key.load();
        key.as_deref().is_some_and(|key| shows(headers, key))
    }

    /// Whether it is a request of this machine itself, or one that shows the admin key, and no other site's.
    pub(in crate::http) fn trusts(&self, headers: &HeaderMap, peer: Option<Peer>) -> bool {
        let trusted = peer.is_some_and(|peer| peer.trusted);
        (trusted || !is_of_another_page(headers))
            && (is_from_here(headers, peer) || self.is_shown(headers))
    }

    /// Whether a request with these headers, from there, shows the key, there or in its path; without a key, whether it
    /// is one of this machine itself. No other site's page may.
    pub(in crate::http) fn opens(
        &self,
        headers: &HeaderMap,
        in_path: Option<&str>,
        peer: Option<Peer>,
    ) -> bool {
        !is_of_another_page(headers)
            && match (self.key.load().as_deref(), in_path) {
                (Some(key), Some(shown)) => same(&hash(shown), key),
                (Some(key), None) => shows(headers, key),
                (None, _) => is_from_here(headers, peer),
            }
    }

    /// Whether there is a key.
    pub(in crate::http) fn has_key(&self) -> bool {
        self.key.load().is_some()
    }

    /// Whether a request with these headers may, from there.
    pub(super) fn authorize(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<(), Problem> {
        let trusted = peer.is_some_and(|peer| peer.trusted);
        if !trusted && is_of_another_page(headers) {
            let text = "pages of other sites may not make admin calls, unless server.cors_origins has \
                        their origin, written out";
            return Err(Problem(StatusCode::FORBIDDEN, text.to_owned()));
        }
        match self.key.load().as_deref() {
            Some(key) => {
                if shows(headers, key) {
                    return Ok(());
                }
                let text = "the admin key is needed: send it as `Authorization: Bearer`";
                Err(Problem(StatusCode::UNAUTHORIZED, text.to_owned()))
            }
            None if is_from_here(headers, peer) => Ok(()),
            None => {
                let text =
                    "without access.admin_key, admin calls are answered to this machine only";
                Err(Problem(StatusCode::FORBIDDEN, text.to_owned()))
            }
        }
    }
}

pub(in crate::http) async fn check(
    Shared(admin): Shared<Admin>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match admin.authorize(request.headers(), peer) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let unknown = problem.0 == StatusCode::UNAUTHORIZED;
            let mut answer = problem.into_response();
            if unknown {
                let bearer = HeaderValue::from_static("Bearer");
                answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
            }
            answer
        }
    }
}

fn shows(headers: &HeaderMap, key: &[u8; 32]) -> bool {
    let shown = credentials::of(headers);
    shown.is_some_and(|shown| same(&hash(&shown), key))
}

/// Browsers say which page a request is of: with `Origin`, or, of requests without one, with how that page
/// and this router are related.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let foreign_origin = headers.get(ORIGIN).is_some_and(|origin| {
        let site = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"));
        // A program's own scheme is another site too, whatever name it gives itself.
        !site.is_some_and(|(scheme, site)| matches!(scheme, "http" | "https") && host == Some(site))
    });
    let foreign_site = headers
        .get(&FETCH_SITE)
        .is_some_and(|site| site != "same-origin" && site != "none");
    foreign_origin || foreign_site
}

fn is_from_here(headers: &HeaderMap, peer: Option<Peer>) -> bool {
    let Some(peer) = peer else {
        return false;
    };
    let address = match peer.from {
        ClientAddress::Named(address) => address,
        ClientAddress::Peer(address) if !is_proxied(headers) => address,
        ClientAddress::Peer(_) | ClientAddress::Unknown => return false,
    };
    peer.named && address.is_loopback()
}

/// By a proxy whose word does not count.
pub(in crate::http) fn is_proxied(headers: &HeaderMap) -> bool {
    let of_proxy = |name: &HeaderName| {
        let mut beginnings = OF_PROXIES.iter();
        beginnings.any(|beginning| name.as_str().starts_with(beginning))
    };
    headers.keys().any(of_proxy)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Takes as long for any two hashes.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let different = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(different) == 0
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("has_key", &self.key.load().is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(address: &str) -> Peer {
        let address: std::net::SocketAddr = address.parse().unwrap();
        Peer {
            from: ClientAddress::Peer(address.ip().to_canonical()),
            named: true,
            trusted: false,
        }
    }

    fn status(key: &str, peer: &str, headers: &[(&'static str, &str)]) -> u16 {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect();
        let authorized = Admin::new(key).authorize(&headers, Some(named(peer)));
        authorized.map_or_else(|problem| problem.0.as_u16(), |()| 200)
    }

    const HERE: &str = "127.0.0.1:5000";
    const THERE: &str = "10.0.0.7:5000";

    #[test]
    fn with_a_key_whoever_sends_it_may() {
        let bearer = [("authorization", "Bearer secret")];
        assert_eq!(status("secret", THERE, &bearer), 200);
        assert_eq!(status("secret", HERE, &[]), 401);
        assert_eq!(
            status("secret", HERE, &[("authorization", "Bearer secrets")]),
            401
        );
    }

    #[test]
    fn without_one_only_this_machine_itself_may() {
        assert_eq!(status("", HERE, &[]), 200);
        assert_eq!(status("", "[::1]:5000", &[]), 200);
        assert_eq!(status("", "[::ffff:127.0.0.1]:5000", &[]), 200);
        assert_eq!(status("", THERE, &[]), 403);
        assert_eq!(status("", HERE, &[("x-forwarded-for", "10.0.0.7")]), 403);
        assert_eq!(status("", HERE, &[("forwarded", "for=10.0.0.7")]), 403);
        for (name, value) in [
            ("via", "1.1 caddy"),
            ("cf-connecting-ip", "1.2.3.4"),
            ("cf-ray", "8"),
            ("cdn-loop", "cloudflare"),
            ("true-client-ip", "1.2.3.4"),
            ("x-client-ip", "1.2.3.4"),
            ("x-cluster-client-ip", "1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-forwarded", "for=1.2.3.4"),
            ("x-original-host", "abc.tunnel.test"),
            ("x-amzn-trace-id", "Root=1"),
            ("tailscale-user-login", "ann"),
        ] {
            assert_eq!(status("", HERE, &[(name, value)]), 403, "{name}");
        }
        assert_eq!(status("", HERE, &[("x-request-id", "7")]), 200);
        let page = [
            ("origin", "http://localhost:3000"),
            ("host", "localhost:11435"),
        ];
        assert_eq!(status("", HERE, &page), 403);
        let own = [
            ("origin", "http://localhost:11435"),
            ("host", "localhost:11435"),
        ];
        assert_eq!(status("", HERE, &own), 200);
        // A page whose own name leads here needs no origin to read from its own host.
        let rebound = Peer {
            named: false,
            ..named(HERE)
        };
        let authorized = Admin::new("").authorize(&HeaderMap::new(), Some(rebound));
        assert_eq!(authorized.unwrap_err().0, StatusCode::FORBIDDEN);
    }

    #[test]
    fn whom_a_trusted_proxy_names_counts_in_place_of_the_proxy() {
        let may = |from: ClientAddress| {
            let headers = [("x-forwarded-for", "1.2.3.4")].into_iter();
            let headers =
                headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let peer = Peer {
                from,
                named: true,
                trusted: false,
            };
            let authorized = Admin::new("").authorize(&headers.collect(), Some(peer));
            authorized.is_ok()
        };
        assert!(may(ClientAddress::Named("127.0.0.1".parse().unwrap())));
        assert!(!may(ClientAddress::Named("1.2.3.4".parse().unwrap())));
        assert!(!may(ClientAddress::Unknown));
    }

    #[test]
    fn pages_of_other_sites_may_not_whatever_they_show() {
        let foreign: [&[(&'static str, &str)]; 5] = [
            &[("origin", "https://evil.test"), ("host", "router.lan")],
            &[
                ("origin", "http://localhost:3000"),
                ("host", "localhost:11435"),
            ],
            &[("origin", "null"), ("host", "router.lan")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ];
        for page in foreign {
            let mut with_key = page.to_vec();
            with_key.push(("authorization", "Bearer secret"));
            assert_eq!(status("secret", THERE, &with_key), 403, "{page:?}");
            assert_eq!(status("secret", HERE, &with_key), 403, "{page:?}");
            assert_eq!(status("", HERE, page), 403, "{page:?}");
        }
        let own = [
            ("origin", "http://router.lan"),
            ("host", "router.lan"),
            ("sec-fetch-site", "same-origin"),
            ("authorization", "Bearer secret"),
        ];
        assert_eq!(status("secret", THERE, &own), 200);
    }

    #[test]
    fn pages_whose_origin_is_configured_may_what_programs_there_may() {
        let page = |key: &str, peer: &str, trusted: bool, shown: &str| {
            let headers = [
                ("origin", "https://chat.example.com"),
                ("host", "router.lan"),
                ("sec-fetch-site", "cross-site"),
                ("authorization", shown),
            ];
            let headers =
                headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let peer = Peer {
                trusted,
                ..named(peer)
            };
            let authorized = Admin::new(key).authorize(&headers.into_iter().collect(), Some(peer));
            authorized.map_or_else(|problem| problem.0.as_u16(), |()| 200)
        };
        assert_eq!(page("secret", THERE, true, "Bearer secret"), 200);
        assert_eq!(page("secret", THERE, true, "Bearer other"), 401);
        assert_eq!(page("", HERE, true, ""), 200);
        assert_eq!(page("", THERE, true, ""), 403);
        assert_eq!(page("secret", THERE, false, "Bearer secret"), 403);
    }

    #[test]
    fn another_key_counts_from_the_moment_it_is_set() {
        let admin = Admin::new("old");
        let served = admin.clone();
        let may = |key: &str| {
            let bearer = format!("Bearer {key}").parse().unwrap();
            let headers = [("authorization".parse().unwrap(), bearer)].into_iter();
            served.authorize(&headers.collect(), Some(named(THERE)))
        };
        assert!(may("old").is_ok());
        admin.set_key("new");
        assert!(may("old").is_err() && may("new").is_ok());
    }
}
