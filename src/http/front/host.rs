//! Whether a host name is one of this machine.

use std::net::IpAddr;
use std::sync::LazyLock;

/// This machine's own name.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_ascii_lowercase()
});

/// The name without its port.
pub(super) fn name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Ollama's rule for servers on loopback: addresses of private networks and names that no public
/// DNS serves.
pub(super) fn is_this_machine(host: &str) -> bool {
    let name = name(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return is_local(address);
    }
    let name = name.to_ascii_lowercase();
    name.is_empty()
        || name == "localhost"
        || name == *OWN
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
}
