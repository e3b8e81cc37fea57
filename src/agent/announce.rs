//! Offering the server on the local network, where routers with `discovery.mdns` show it to their operators.

use std::net::IpAddr;

use super::{Error, Options};
use crate::config::EndpointUrl;
use crate::mdns::{Mdns, Offer};

/// Offers it, if that is asked for, until it is withdrawn.
pub(super) fn offer(options: &Options, name: &str) -> Result<Option<Offer>, Error> {
    if !options.announce {
        return Ok(None);
    }
    let server = options.advertise.as_ref().unwrap_or(&options.server);
    let (ip, port) = place(server)?;
    let told = |error: crate::mdns::Error| Error::Unusable(format!("mDNS: {error}"));
    let offer = Mdns::start().and_then(|network| network.offer(name, ip, port));
    let offer = offer.map_err(told)?;
    tracing::info!(name, port, "offered on the local network");
    Ok(Some(offer))
}

/// Its address, and the port; none is all of this machine's.
fn place(server: &EndpointUrl) -> Result<(Option<IpAddr>, u16), Error> {
    let unusable =
        |why: &str| Error::Unusable(format!("{why} cannot be offered on the local network"));
    if server.uri().scheme_str() != Some("http") || !server.prefix().is_empty() {
        return Err(unusable("https, or a path,"));
    }
    let reached = server.reached();
    let (host, port) = reached.rsplit_once(':').unwrap_or((&reached, ""));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = bare.parse().map_err(|_| unusable("a host name"))?;
    let port = port.parse().map_err(|_| unusable("this port"))?;
    Ok(((!ip.is_loopback()).then_some(ip), port))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_is_offered_and_a_server_of_this_machine_under_all_it_has() {
        let place = |url: &str| super::place(&url.parse().unwrap()).ok();
        assert_eq!(
            place("http://10.0.0.7:11434"),
            Some((Some([10, 0, 0, 7].into()), 11_434))
        );
        assert_eq!(place("http://localhost:11434"), Some((None, 11_434)));
        for url in [
            "http://gpu-1:11434",
            "https://10.0.0.7",
            "http://10.0.0.7/x",
        ] {
            assert_eq!(place(url), None, "{url}");
        }
    }
}
