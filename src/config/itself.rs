//! Whether an address of a server is the address the router itself listens on.
//!
//! Only what can be seen without asking anybody: addresses of this machine under all their names. A name that
//! a resolver would lead here is found out when the server is probed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::EndpointUrl;

/// True when a router that listens at `listen` would be its own server at `url`.
pub fn is_itself(listen: SocketAddr, url: &EndpointUrl) -> bool {
    let address = url.host_and_port();
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    // Port 0 is any that is free.
    let same_port = listen.port() != 0 && port.parse() == Ok(listen.port());
    same_port && reached(host).iter().any(|ip| answers(listen.ip(), *ip))
}

/// The addresses to which a connection to this host goes, where that needs no resolver.
pub(super) fn reached(host: &str) -> Vec<IpAddr> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(ip) = bare.parse::<IpAddr>() else {
        return Vec::new();
    };
    vec![match ip.to_canonical() {
        // Of these a connection goes to this machine.
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }]
}

/// Whether who listens on `listen` is reached at `ip`.
fn answers(listen: IpAddr, ip: IpAddr) -> bool {
    match listen.to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => ip.is_ipv4() && ip.is_loopback(),
        // It takes connections of the older protocol as well.
        IpAddr::V6(v6) if v6.is_unspecified() => ip.is_loopback(),
        listen => listen == ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn itself(listen: &str, url: &str) -> bool {
        is_itself(listen.parse().unwrap(), &url.parse().unwrap())
    }

    #[test]
    fn this_machine_is_recognised_under_all_its_names() {
        for (listen, url) in [
            ("127.0.0.1:11435", "http://127.0.0.1:11435"),
            ("127.0.0.1:11435", "http://localhost:11435/prefix"),
            ("127.0.0.1:11435", "https://LOCALHOST.:11435"),
            ("127.0.0.1:11435", "http://0.0.0.0:11435"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("0.0.0.0:11435", "http://127.0.0.1:11435"),
            ("0.0.0.0:11435", "http://127.8.8.8:11435"),
            ("0.0.0.0:11435", "http://a.localhost:11435"),
            ("[::]:11435", "http://127.0.0.1:11435"),
            ("[::]:11435", "http://[::1]:11435"),
            ("[::1]:11435", "http://localhost:11435"),
            ("[::1]:11435", "http://[::]:11435"),
            ("127.0.0.1:11435", "http://[::ffff:127.0.0.1]:11435"),
            ("192.168.1.4:11435", "http://192.168.1.4:11435"),
        ] {
            assert!(itself(listen, url), "{listen} {url}");
        }
    }

    #[test]
    fn another_address_of_this_machine_may_be_another_server() {
        for (listen, url) in [
            ("127.0.0.1:11435", "http://127.0.0.1:11434"),
            ("127.0.0.1:11435", "http://127.0.0.2:11435"),
            ("127.0.0.1:11435", "http://[::1]:11435"),
            ("192.168.1.4:11435", "http://localhost:11435"),
            ("0.0.0.0:11435", "http://192.168.1.4:11435"),
            ("0.0.0.0:11435", "http://gpu-1:11435"),
            ("127.0.0.1:0", "http://127.0.0.1:11435"),
        ] {
            assert!(!itself(listen, url), "{listen} {url}");
        }
    }
}
