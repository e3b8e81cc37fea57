//! Where a server is.
//!
//! Parsed strictly and once: what a URL could also carry (a user, a query, a fragment, dots in the
//! path) would be lost, leaked or resolved differently by someone further on, so it is refused here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{itself, text};

/// The root of a server: `http` or `https`, host, port, and perhaps a path in front of its paths.
#[derive(Clone, Eq, PartialEq)]
pub struct EndpointUrl {
    uri: Uri,
    text: Arc<str>,
}

/// Why a text is not the root of a server. Says nothing of the text itself, which may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUrl {
    /// No scheme, or neither of the two.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// Nothing between the scheme and the path, or not a host.
    #[error("must name a host")]
    Host,
    /// A port out of range.
    #[error("has a port that is not between 1 and 65535")]
    Port,
    /// `user:password@` before the host.
    #[error("may not carry a user or password; use api_key")]
    UserInfo,
    /// A `?` or `#`.
    #[error("may not carry a query or a fragment")]
    Query,
    /// `//`, `.` or `..` inside the path.
    #[error("has a path with empty or dotted parts")]
    Path,
    /// Anything else that makes it no URL.
    #[error("is not a URL")]
    Malformed,
}

impl EndpointUrl {
    /// `http://127.0.0.1:11434`, where Ollama listens unless told otherwise.
    #[must_use]
    pub fn local_ollama() -> Self {
        const ROOT: &str = "http://127.0.0.1:11434";
        Self {
            uri: Uri::from_static(ROOT),
            text: ROOT.into(),
        }
    }

    /// For requests: scheme, authority and [`prefix`](Self::prefix).
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// As written, without a slash at the end and with its scheme in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before every path: empty or `/like/this`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }

    /// The same for every way to write it that needs no resolver to see through.
    #[must_use]
    pub fn reached(&self) -> String {
        let written = self.host_and_port();
        let (host, port) = written.rsplit_once(':').unwrap_or((&written, ""));
        match itself::reached(host).first() {
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            Some(ip) => format!("{ip}:{port}"),
            None => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                format!("{host}:{port}")
            }
        }
    }

    /// The host and the port, if it is a name that has to be looked up.
    #[must_use]
    pub fn host_to_look_up(&self) -> Option<(String, u16)> {
        let reached = self.reached();
        let (host, port) = reached.rsplit_once(':')?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_name = bare.parse::<IpAddr>().is_err();
        is_name.then(|| Some((host.to_owned(), port.parse().ok()?)))?
    }

    /// The host and the port, the scheme's own port if none was written.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let tls = self.uri.scheme() == Some(&Scheme::HTTPS);
        let port = self.uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        format!("{}:{port}", self.uri.host().unwrap_or_default())
    }
}

impl FromStr for EndpointUrl {
    type Err = InvalidUrl;

    fn from_str(written: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = written.split_once("://").ok_or(InvalidUrl::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(InvalidUrl::Scheme);
        }
        if written.contains(['?', '#']) {
            return Err(InvalidUrl::Query);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(InvalidUrl::Path);
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(InvalidUrl::Host);
        }
        let text = format!("{scheme}://{}", rest.strip_suffix('/').unwrap_or(rest));
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Malformed)?;
        let host = uri.host().ok_or(InvalidUrl::Host)?;
        // One dot at the end is that of a name in full.
        let labels = host.strip_suffix('.').unwrap_or(host);
        if labels.split('.').any(str::is_empty) {
            return Err(InvalidUrl::Host);
        }
        if authority.len() > host.len() && uri.port_u16().is_none_or(|port| port == 0) {
            return Err(InvalidUrl::Port);
        }
        Ok(Self {
            uri,
            text: text.into(),
        })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(
            deserializer,
            "a URL such as \"http://gpu-1:11434\"",
            |written| written.parse::<Self>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EndpointUrl, InvalidUrl};

    fn parse(written: &str) -> Result<EndpointUrl, InvalidUrl> {
        written.parse()
    }

    #[test]
    fn a_slash_at_the_end_means_nothing() {
        let url = parse("http://gpu-1:11434/").unwrap();
        assert_eq!(url.as_str(), "http://gpu-1:11434");
        assert_eq!(url.prefix(), "");
        assert_eq!(parse("https://a/x/y/").unwrap().prefix(), "/x/y");
    }

    #[test]
    fn the_port_follows_from_the_scheme() {
        for (written, expected) in [
            ("http://gpu-1", "gpu-1:80"),
            ("https://gpu-1/ollama", "gpu-1:443"),
            ("http://[::1]:11434", "[::1]:11434"),
        ] {
            assert_eq!(parse(written).unwrap().host_and_port(), expected);
        }
        assert_eq!(
            EndpointUrl::local_ollama(),
            parse("http://127.0.0.1:11434").unwrap()
        );
    }

    #[test]
    fn one_address_is_recognised_however_it_is_written() {
        let reached = |written: &str| parse(written).unwrap().reached();
        for (one, other) in [
            ("HTTP://GPU-1:11434/", "http://gpu-1.:11434"),
            ("http://gpu-1", "http://gpu-1:80"),
            ("http://localhost:1", "http://127.0.0.1:1"),
            ("http://[::ffff:10.0.0.7]:1", "http://10.0.0.7:1"),
            ("http://[0:0::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(reached(one), reached(other), "{one} {other}");
        }
        assert_ne!(reached("http://gpu-1:1"), reached("http://gpu-2:1"));
        assert_ne!(reached("http://127.0.0.1:1"), reached("http://127.0.0.2:1"));
    }

    #[test]
    fn every_surprise_is_refused_by_its_name() {
        for (written, expected) in [
            ("gpu-1:11434", InvalidUrl::Scheme),
            ("ftp://gpu-1", InvalidUrl::Scheme),
            (" http://gpu-1", InvalidUrl::Scheme),
            ("http://", InvalidUrl::Host),
            ("http://.", InvalidUrl::Host),
            ("http://..:11434/x", InvalidUrl::Host),
            ("http://.gpu-1", InvalidUrl::Host),
            ("http://gpu-1..lan", InvalidUrl::Host),
            ("http://:11434", InvalidUrl::Host),
            ("http://a:0", InvalidUrl::Port),
            ("http://a:99999", InvalidUrl::Port),
            ("http://a:", InvalidUrl::Port),
            ("http://user:hunter2@a", InvalidUrl::UserInfo),
            ("http://a/?x=1", InvalidUrl::Query),
            ("http://a#top", InvalidUrl::Query),
            ("http://a/../b", InvalidUrl::Path),
            ("http://a//b", InvalidUrl::Path),
            ("http://a b", InvalidUrl::Malformed),
        ] {
            assert_eq!(parse(written).unwrap_err(), expected, "{written}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_either_a_root_or_an_error(written in "\\PC*") {
            if let Ok(url) = parse(&written) {
                prop_assert_eq!(parse(url.as_str()).unwrap(), url);
            }
        }
    }
}
