//! `[server]`: where the router listens and what it keeps on disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Network, duration, size, text};

/// The process itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Server {
    /// The address of the router. Not Ollama's own 11434, so that both may run on one machine.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Folder of the SQLite file and the usage journal. One process per folder.
    pub data_dir: PathBuf,
    /// How long open streams may finish at shutdown; zero ends them at once.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// How long new work is still taken after SIGTERM, while the router already says that it is not ready.
    #[serde(with = "duration")]
    pub lead_in: Duration,
    /// How long an idle connection of a client is kept.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// How long a client may read nothing of its answer.
    #[serde(with = "duration")]
    pub reader_timeout: Duration,
    /// Origins of browser pages that may call, beyond those of this machine.
    pub cors_origins: Vec<String>,
    /// Names under which it may be asked while it listens on loopback, beyond this machine's own.
    pub hosts: Vec<String>,
    /// PEM file of the certificate chain; with it the port speaks HTTPS. Read again when it changes.
    pub tls_cert: PathBuf,
    /// PEM file of the certificate's private key.
    pub tls_key: PathBuf,
    /// Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count.
    pub trusted_proxies: Vec<Network>,
    /// Names under which servers reach this router.
    pub advertise: Vec<Advertised>,
    /// Largest body of an inference request, in bytes. Blobs are streamed and not limited by it.
    #[serde(with = "size")]
    pub max_body: u64,
}

impl Server {
    /// The files of the certificate and its key, if the port speaks HTTPS.
    #[must_use]
    pub fn tls(&self) -> Option<(&PathBuf, &PathBuf)> {
        let is_set = !self.tls_cert.as_os_str().is_empty();
        is_set.then_some((&self.tls_cert, &self.tls_key))
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 11435).into(),
            data_dir: PathBuf::from("herdsman-data"),
            grace: Duration::from_secs(30),
            lead_in: Duration::from_secs(5),
            idle: Duration::from_secs(90),
            reader_timeout: Duration::from_secs(5 * 60),
            cors_origins: Vec::new(),
            hosts: Vec::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            trusted_proxies: Vec::new(),
            advertise: Vec::new(),
            max_body: 256 << 20,
        }
    }
}

/// `host:port`, as it can stand before the name of a model.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Advertised(String);

impl Advertised {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name or address without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(host, _)| host)
    }
}

impl<'de> Deserialize<'de> for Advertised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a name or an address and a port such as \"router.lan:11435\"";
        text::parsed(deserializer, EXPECTED, |written| {
            let is_host = |host: &str| {
                let first = host.starts_with(|first: char| first.is_ascii_alphanumeric());
                first
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            };
            let parts = written.rsplit_once(':');
            let is_one = parts.is_some_and(|(host, port)| {
                is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            match is_one {
                true => Ok(Self(written.to_owned())),
                false => Err(format!("\"{written}\" is not {EXPECTED}")),
            }
        })
    }
}

/// Names are not resolved: which of a name's addresses is served must not depend on a resolver.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    const EXPECTED: &str = "an IP address and a port such as \"127.0.0.1:11435\"";
    text::parsed(deserializer, EXPECTED, |written| {
        written
            .parse()
            .map_err(|_| format!("\"{written}\" is not {EXPECTED}"))
    })
}
