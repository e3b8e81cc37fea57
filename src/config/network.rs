//! Networks of addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use super::text;

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is one of its own. An IPv4 address is the same in IPv6's writing.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a network such as \"10.0.0.0/8\", or an address";
        text::parsed(deserializer, EXPECTED, |written| {
            let network = written.parse::<IpNet>().ok();
            let address = || written.parse().map(|address: IpAddr| address.into()).ok();
            let network = network
                .or_else(address)
                .map(|network| Self(network.trunc()));
            network.ok_or_else(|| format!("\"{written}\" is not {EXPECTED}"))
        })
    }
}
