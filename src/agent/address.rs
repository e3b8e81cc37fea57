//! Under which address routers reach the server.
//!
//! As the agent does, unless that is an address of this machine alone and a router is on another one: then
//! under the address from which this machine reaches that router.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::config::EndpointUrl;

/// For looking up the routers' names.
const LIMIT: Duration = Duration::from_secs(2);

/// Set aside for documents: the way to it is the way to everybody.
const ANYWHERE: &str = "192.0.2.1:9";

/// The address, or why it is not known.
pub(super) async fn reached(
    server: &EndpointUrl,
    routers: &[EndpointUrl],
) -> Result<String, String> {
    if !is_of_this_machine(&server.host_and_port()) {
        return Ok(server.as_str().to_owned());
    }
    let elsewhere = routers.iter().map(EndpointUrl::reached);
    let elsewhere = elsewhere.filter(|router| !is_of_this_machine(router));
    let mut said = Vec::new();
    // Any that is known will do: the others are reached over the same network.
    for router in elsewhere {
        let found = timeout(LIMIT, outward(&router)).await;
        match found.unwrap_or_else(|_| Err("its name is not looked up in time".to_owned())) {
            Ok(ip) => return Ok(with_host(server, ip)),
            Err(why) => said.push(format!("{router}: {why}")),
        }
    }
    if said.is_empty() {
        return Ok(server.as_str().to_owned());
    }
    let is_local = |router: &EndpointUrl| is_of_this_machine(&router.reached());
    if !routers.iter().any(is_local) {
        return Err(said.join(", "));
    }
    // One on this machine passes it on to the others.
    match timeout(LIMIT, outward(ANYWHERE)).await {
        Ok(Ok(ip)) => Ok(with_host(server, ip)),
        _ => Ok(server.as_str().to_owned()),
    }
}

/// The address from which this machine reaches another. Nothing is sent for that.
async fn outward(router: &str) -> Result<IpAddr, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut found = lookup_host(router).await.map_err(told)?;
    let to = found.next().ok_or("its name has no address")?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(told)?;
    socket.connect(to).await.map_err(told)?;
    Ok(socket.local_addr().map_err(told)?.ip())
}

fn with_host(server: &EndpointUrl, ip: IpAddr) -> String {
    let mut url = match url::Url::parse(server.as_str()) {
        Ok(url) => url,
        Err(_) => return server.as_str().to_owned(),
    };
    // An address is a host.
    let _ = url.set_ip_host(ip);
    url.as_str().trim_end_matches('/').to_owned()
}

/// By what is written.
fn is_of_this_machine(place: &str) -> bool {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = host.eq_ignore_ascii_case("localhost");
    let ip: Result<IpAddr, _> = host.parse();
    is_name || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> EndpointUrl {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_server_of_this_machine_is_told_of_as_routers_elsewhere_reach_it() {
        let here = url("http://127.0.0.1:11434");
        let local = [url("http://localhost:11435"), url("http://[::1]:11435")];
        let reached_locally = reached(&here, &local).await.unwrap();
        assert_eq!(reached_locally, here.as_str());
        let there = url("http://gpu-1:11434");
        let other = [url("http://192.0.2.1:11435")];
        assert_eq!(reached(&there, &other).await.unwrap(), there.as_str());
        // A router whose name is gone stands in nobody's way.
        let gone = url("http://gone.invalid:11435");
        let one_local = [gone.clone(), url("http://127.0.0.1:11435")];
        assert!(reached(&here, &one_local).await.is_ok());
        assert!(reached(&here, &[gone]).await.is_err());
        let ip: IpAddr = "10.0.0.7".parse().unwrap();
        assert_eq!(with_host(&here, ip), "http://10.0.0.7:11434");
        assert_eq!(
            with_host(&url("http://localhost:1/x"), ip),
            "http://10.0.0.7:1/x"
        );
    }
}
