//! `[server]`: where the router listens and what it keeps on disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{duration, size, text};

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
    /// Origins of browser pages that may call, beyond those of this machine.
    pub cors_origins: Vec<String>,
    /// Largest body of an inference request, in bytes. Blobs are streamed and not limited by it.
    #[serde(with = "size")]
    pub max_body: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 11435).into(),
            data_dir: PathBuf::from("herdsman-data"),
            grace: Duration::from_secs(30),
            cors_origins: Vec::new(),
            max_body: 256 << 20,
        }
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
