//! Which requests are allowed at all: Ollama's rules on `Origin` and `Host`, both answered 403 with
//! no body.
//!
//! They protect against web pages that call a local server, and they affect every proxy that passes
//! these two headers on.

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    HeaderValue, ORIGIN,
};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::node::Node;
use crate::wire::Body;

use super::reply::empty;

const SCHEMES: [&str; 5] = [
    "app://",
    "file://",
    "tauri://",
    "vscode-webview://",
    "vscode-file://",
];
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "0.0.0.0"];
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,OpenAI-Beta",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS");

/// The result of the rules for a request.
pub enum Verdict {
    /// Go on; an origin to be named in the response.
    Pass(Option<HeaderValue>),
    /// This is the answer.
    Stop(Response<Body>),
}

/// Checks a request by its headers.
pub fn check(node: &Node, method: &Method, headers: &HeaderMap) -> Verdict {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let origin = headers.get(ORIGIN).filter(|origin| !is_same(origin, host));
    if let Some(origin) = origin {
        let text = origin.to_str().unwrap_or_default();
        if !origin_allowed(text, &node.config.origins) {
            return Verdict::Stop(empty(StatusCode::FORBIDDEN));
        }
        if method == Method::OPTIONS {
            let mut response = empty(StatusCode::NO_CONTENT);
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            return Verdict::Stop(response);
        }
    }
    if node.listen_socket.address().ip().is_loopback() && !host_allowed(host) {
        return Verdict::Stop(empty(StatusCode::FORBIDDEN));
    }
    Verdict::Pass(origin.cloned())
}

/// A page of this server itself needs no permission.
fn is_same(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.as_bytes();
    let rest = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    rest == Some(host.as_bytes()) || origin.is_empty()
}

fn origin_allowed(origin: &str, extra: &[String]) -> bool {
    if SCHEMES.iter().any(|scheme| origin.starts_with(scheme)) {
        return true;
    }
    let rest = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let is_local = |rest: &str| {
        LOCAL.iter().any(|host| {
            rest.strip_prefix(host)
                .is_some_and(|port| port.is_empty() || port.starts_with(':'))
        })
    };
    rest.is_some_and(is_local) || extra.iter().any(|pattern| matches(pattern, origin))
}

/// `*` stands for anything, once.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

fn host_allowed(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if let Ok(ip) = name.parse::<IpAddr>() {
        return ip.is_loopback()
            || ip.is_unspecified()
            || match ip {
                IpAddr::V4(ip) => ip.is_private(),
                IpAddr::V6(ip) => ip.is_unique_local(),
            };
    }
    let name = name.to_ascii_lowercase();
    name.is_empty()
        || name == "localhost"
        || [".localhost", ".local", ".internal"]
            .iter()
            .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine_and_its_network_are_allowed() {
        for host in [
            "",
            "localhost",
            "LOCALHOST:11434",
            "127.0.0.1:1",
            "[::1]:11434",
            "10.0.0.7",
            "192.168.1.2:80",
            "0.0.0.0",
            "gpu.local",
            "a.internal:80",
        ] {
            assert!(host_allowed(host), "{host}");
        }
        for host in ["example.com", "8.8.8.8:80", "local", "evil-localhost"] {
            assert!(!host_allowed(host), "{host}");
        }
    }

    #[test]
    fn pages_of_this_machine_are_allowed_and_others_by_name() {
        for origin in [
            "http://localhost",
            "https://127.0.0.1:3000",
            "app://x",
            "tauri://localhost",
        ] {
            assert!(origin_allowed(origin, &[]), "{origin}");
        }
        assert!(!origin_allowed("http://localhost.evil.com", &[]));
        assert!(!origin_allowed("https://example.com", &[]));
        let extra = ["https://*.example.com".to_owned()];
        assert!(origin_allowed("https://a.example.com", &extra));
        assert!(!origin_allowed("https://example.com", &extra));
    }
}
