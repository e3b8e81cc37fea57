//! Servers that offer themselves on the local network, by DNS-SD over mDNS: making such an offer, and hearing others'.
//!
//! Only here the mDNS library is used; it has a thread of its own, which ends with whoever has it. Anybody on the network can
//! say anything: what an offer is good for is decided by whoever hears it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use mdns_sd::Error;
use mdns_sd::{Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::time::timeout;

/// As what servers offer themselves.
pub const SERVICE: &str = "_herdsman._tcp.local.";
/// For taking an offer back. What is lost then is over with the time it was good for.
const LIMIT: Duration = Duration::from_secs(2);

/// The way to the network. Clones share it.
#[derive(Clone)]
pub struct Mdns(Arc<Daemon>);

/// Ends its thread when the last of its clones is dropped.
struct Daemon(ServiceDaemon);

/// What is heard.
#[derive(Debug)]
pub struct Ear(Receiver<ServiceEvent>);

/// A server that offers itself, until it is withdrawn.
pub struct Offer {
    network: Mdns,
    fullname: String,
}

/// What was said of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// It offers itself.
    Here {
        /// As nobody else on the network is called.
        id: String,
        /// How it is called.
        name: String,
        /// Where it is.
        address: SocketAddr,
    },
    /// What had this id offers itself no longer.
    Gone(String),
    /// Nothing will be heard any more.
    Nothing(String),
}

impl Mdns {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start() -> Result<Self, Error> {
        Ok(Self(Arc::new(Daemon(ServiceDaemon::new()?))))
    }

    /// Asks the network, and from then on hears what is said. What is known already is heard again.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn listen(&self) -> Result<Ear, Error> {
        self.0.0.browse(SERVICE).map(Ear)
    }

    /// Offers a server: at this address, or at all of this machine's.
    ///
    /// # Errors
    /// When its name is none, or the thread has ended.
    pub fn offer(&self, name: &str, ip: Option<IpAddr>, port: u16) -> Result<Offer, Error> {
        let host = format!("{}.local.", host(name));
        let none = None::<HashMap<String, String>>;
        let addresses: Vec<IpAddr> = ip.into_iter().collect();
        let mut info = ServiceInfo::new(SERVICE, name, &host, &*addresses, port, none)?;
        if ip.is_none() {
            info = info.enable_addr_auto();
        }
        let fullname = info.get_fullname().to_owned();
        self.0.0.register(info)?;
        Ok(Offer {
            network: self.clone(),
            fullname,
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.0.shutdown());
    }
}

impl Offer {
    /// Says that it ends.
    pub async fn withdraw(self) {
        let Ok(ended) = self.network.0.0.unregister(&self.fullname) else {
            return;
        };
        drop(timeout(LIMIT, ended.recv_async()).await);
    }
}

impl Ear {
    /// The next thing that says something about a server.
    pub async fn next(&self) -> Said {
        loop {
            match self.0.recv_async().await {
                Ok(ServiceEvent::ServiceResolved(service)) => {
                    if let Some(said) = here(&service) {
                        return said;
                    }
                }
                Ok(ServiceEvent::ServiceRemoved(_, id)) => return Said::Gone(id),
                Ok(_) => {}
                Err(_) => return Said::Nothing("nothing more is heard".to_owned()),
            }
        }
    }
}

/// Called as it calls itself; `None` if it cannot be reached.
fn here(service: &ResolvedService) -> Option<Said> {
    let name = service.fullname.strip_suffix(&service.ty_domain)?;
    let addresses = service.addresses.iter();
    let mut addresses: Vec<IpAddr> = addresses.map(ScopedIp::to_ip_addr).collect();
    addresses.retain(|ip| match ip {
        IpAddr::V4(_) => true,
        // Which interface leads to it would have to be said.
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    });
    // Always the same of several.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    Some(Said::Here {
        id: service.fullname.clone(),
        name: unescaped(name.strip_suffix('.')?),
        address: SocketAddr::new(*addresses.first()?, service.port),
    })
}

/// A name of a host that nothing else on the network has.
fn host(name: &str) -> String {
    let of_host = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    // The longest part of a name is 63 bytes.
    let part: String = name.chars().map(of_host).take(50).collect();
    format!("herdsman-{}", part.to_ascii_lowercase())
}

/// Dots in the name of an announcement are written with a backslash.
fn unescaped(name: &str) -> String {
    let mut characters = name.chars();
    let mut text = String::with_capacity(name.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_announcements_are_read_as_they_were_meant() {
        for (written, meant) in [
            ("gpu-1", "gpu-1"),
            (r"gpu-1\.lab", "gpu-1.lab"),
            (r"a\\b\", r"a\b"),
        ] {
            assert_eq!(unescaped(written), meant, "{written}");
        }
        assert_eq!(host("GPU_1.lab:11500"), "herdsman-gpu-1-lab-11500");
        assert!(host(&"x".repeat(128)).len() < 63);
    }
}
