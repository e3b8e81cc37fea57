//! Whether an address of a server is the address the router itself listens on.
//!
//! Only what can be seen without asking anybody: names and addresses of this machine, as its system knows them. A
//! name that a resolver would lead here is found out when the server is probed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::LazyLock;

use super::EndpointUrl;

/// This machine's own name, in lower case; empty if it has none.
static OWN_NAME: LazyLock<String> = LazyLock::new(|| {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_ascii_lowercase()
});

/// Whether this is the name of this machine.
pub fn is_own_name(name: &str) -> bool {
    !name.is_empty() && name.trim_end_matches('.').eq_ignore_ascii_case(&OWN_NAME)
}

/// Whether this machine can listen for addresses that nobody has, as where a group of machines shares some
/// (`net.ipv4.ip_nonlocal_bind`): then that says nothing about whose they are. These are set aside for documents.
static LISTENS_FOR_OTHERS: LazyLock<[bool; 2]> = LazyLock::new(|| {
    let strangers: [IpAddr; 2] = [
        Ipv4Addr::new(192, 0, 2, 1).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    ];
    strangers.map(listens_for)
});

/// Whether this machine has the address: nobody else can be listened for, and where that is not so, only loopback is
/// known to be its own. Nothing is sent.
pub fn is_own_address(ip: IpAddr) -> bool {
    let [v4, v6] = *LISTENS_FOR_OTHERS;
    let proves_nothing = if ip.is_ipv4() { v4 } else { v6 };
    match proves_nothing {
        true => ip.to_canonical().is_loopback(),
        false => !ip.is_multicast() && listens_for(ip),
    }
}

fn listens_for(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// True when a router that listens at `listen` would be its own server at `url`.
pub fn is_itself(listen: SocketAddr, url: &EndpointUrl) -> bool {
    let address = url.host_and_port();
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    // Port 0 is any that is free.
    let same_port = listen.port() != 0 && port.parse() == Ok(listen.port());
    let everywhere = listen.ip().to_canonical().is_unspecified();
    same_port
        && ((everywhere && is_own_name(host))
            || reached(host).iter().any(|ip| answers(listen.ip(), *ip)))
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
        IpAddr::V4(v4) if v4.is_unspecified() => {
            ip.is_ipv4() && (ip.is_loopback() || is_own_address(ip))
        }
        // It takes connections of the older protocol as well.
        IpAddr::V6(v6) if v6.is_unspecified() => ip.is_loopback() || is_own_address(ip),
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
    fn who_listens_everywhere_is_found_under_the_name_and_the_addresses_of_the_machine() {
        let name = OWN_NAME.to_uppercase();
        assert!(!name.is_empty());
        for listen in ["0.0.0.0:11435", "[::]:11435"] {
            assert!(itself(listen, &format!("http://{name}:11435")), "{listen}");
            assert!(
                itself(listen, &format!("http://{name}.:11435/x")),
                "{listen}"
            );
            assert!(!itself(listen, &format!("http://{name}:11434")), "{listen}");
        }
        // One address at most: it may be another server's.
        assert!(!itself("127.0.0.1:11435", &format!("http://{name}:11435")));
        // Where a packet to somebody else would come from: an address of this machine, if it has any but loopback.
        let outward = UdpSocket::bind("0.0.0.0:0").unwrap();
        if outward.connect("192.0.2.4:9").is_ok() {
            let own = outward.local_addr().unwrap().ip();
            assert!(
                itself("0.0.0.0:11435", &format!("http://{own}:11435")),
                "{own}"
            );
            assert!(
                itself("[::]:11435", &format!("http://{own}:11435")),
                "{own}"
            );
        }
    }

    #[test]
    fn another_address_of_this_machine_may_be_another_server() {
        for (listen, url) in [
            ("127.0.0.1:11435", "http://127.0.0.1:11434"),
            ("127.0.0.1:11435", "http://127.0.0.2:11435"),
            ("127.0.0.1:11435", "http://[::1]:11435"),
            ("192.168.1.4:11435", "http://localhost:11435"),
            // Set aside for documents.
            ("0.0.0.0:11435", "http://203.0.113.4:11435"),
            ("[::]:11435", "http://203.0.113.4:11435"),
            ("[::]:11435", "http://[2001:db8::4]:11435"),
            ("0.0.0.0:11435", "http://some-other-machine:11435"),
            ("127.0.0.1:0", "http://127.0.0.1:11435"),
        ] {
            assert!(!itself(listen, url), "{listen} {url}");
        }
    }
}
